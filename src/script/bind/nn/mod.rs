//! `nn`: networks, their layers and losses.

mod guest;
mod layers;
mod loss;
mod net;
mod summary;

pub(crate) use net::tensors;
pub(crate) use summary::Parameters;

use crate::library::Library;

/// Binds it.
pub(crate) fn bind(library: &mut Library) {
    library.module(
        "nn",
        "Networks and their layers, losses, and modules from elsewhere as frozen functions.",
    );
    layers::bind(library);
    net::bind(library);
    summary::bind(library);
    loss::bind(library);
    guest::bind(library);
}
