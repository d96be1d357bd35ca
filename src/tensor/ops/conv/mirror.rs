//! The transpose of a convolution at stride 1 as a convolution: nothing has to be added back to its place.

use super::geometry::Geometry;
use crate::Real;

/// The convolution with the mirrored kernel that is the transpose of this one, where there is one: at stride 1.
pub(super) fn mirrored(geo: &Geometry) -> Option<Geometry> {
    let reach = |axis: usize| geo.dilation[axis] * geo.kernel[axis].saturating_sub(1);
    let is_whole = |axis: usize| {
        geo.stride[axis] == 1
            && geo.padding[axis] <= reach(axis)
            && geo.out[axis] + reach(axis) == geo.size[axis] + 2 * geo.padding[axis]
    };
    let fits = is_whole(0) && is_whole(1) && !geo.is_depthwise() && !geo.is_pointwise();
    fits.then(|| Geometry {
        inputs: geo.outputs,
        outputs: geo.inputs,
        size: geo.out,
        out: geo.size,
        padding: [reach(0) - geo.padding[0], reach(1) - geo.padding[1]],
        ..*geo
    })
}

/// The kernel of [`mirrored`]: inputs and outputs change places, and each channel's elements are in reverse.
pub(super) fn mirrored_weights<T: Real>(geo: &Geometry, w: &[T]) -> Vec<T> {
    let (taps, inputs, outputs) = (geo.taps(), geo.inputs, geo.outputs);
    let mut turned = Vec::with_capacity(w.len());
    for group in w.chunks_exact((outputs * inputs * taps).max(1)) {
        for input in 0..inputs {
            for kernel in group.chunks_exact(inputs * taps) {
                turned.extend(kernel[input * taps..][..taps].iter().rev());
            }
        }
    }
    turned
}
