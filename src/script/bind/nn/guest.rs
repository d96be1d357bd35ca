//! `nn::guest`: a network of a file as a frozen function.

use rhai::{Map, NativeCallContext};
use rhapsode_models::{
    checkpoint::Checkpoint,
    nn::guest::{self, GuestOptions},
};
use rhapsode_tensor::{Tensor, guest::Guest};

use crate::{
    Display,
    bind::{Outcome, raise},
    context,
    library::Library,
    options,
    value::Object,
};

impl Object for Guest {
    const NAME: &'static str = "Guest";

    fn text(&self) -> String {
        "Guest: a frozen network of a file; gradients go through it".into()
    }

    fn summary(&self) -> String {
        "frozen".into()
    }

    fn bytes(&self) -> Option<u64> {
        None
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds it.
pub(super) fn bind(library: &mut Library) {
    library.object::<Guest>(
        "A network of a file that does not train: gradients go through it to its input.",
    );
    library
        .function(
            "nn::guest",
            "(path: string, options: map) -> Guest",
            r#"
            The linear layers and convolutions of a safetensors file, named as PyTorch's `nn.Sequential` names them (`0.weight`, `0.bias`,
            `2.weight`, ..), as a frozen function: a pretrained classifier as a reward, a feature network. The gradient is checked against
            finite differences when it is made; second derivatives are refused.

            ```rhai
            let weights = #{ "0.weight": randn([8, 4]), "0.bias": zeros([8]), "2.weight": randn([3, 8]) };
            save(weights, "classifier.safetensors");
            let net = nn::guest("classifier.safetensors", #{ input: [4], activation: "tanh" });
            net.forward(zeros([2, 4])).shape // => [2, 3]
            ```
            "#,
        )
        .options::<GuestOptions>()
        .call(|call: NativeCallContext, path: &str, map: Map| -> Outcome<Guest> {
            let chosen: GuestOptions = options::read(&map)?;
            let path = context::of_call(&call)?.path(path);
            raise(Checkpoint::load(&path).and_then(|file| guest::load(&file, &chosen)))
        });
    library
        .method::<Guest>(
            "forward",
            "(x: Tensor) -> Tensor",
            "The output at x `[n, ..]`, differentiable in x.\n\n```rhai\nsave(#{ \"0.weight\": randn([2, 3]), \"0.bias\": zeros([2]) }, \"rhapsode-forward.safetensors\");\nnn::guest(\"rhapsode-forward.safetensors\", #{ input: [3] }).forward(zeros([5, 3])).shape // => [5, 2]\n```",
        )
        .call(|guest: &mut Guest, x: Tensor| -> Outcome<Tensor> { raise(guest.forward(&x)) });
}
