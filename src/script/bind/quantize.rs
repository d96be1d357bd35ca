//! `optim::quantize` and what belongs to it: block-wise 8-bit quantization, to look at what 8-bit optimizers do.

use rhai::{Array, Dynamic, Map, NativeCallContext};
use rhapsode_models::optim::{
    CodeName, CodeOptions, QuantizeOptions, Quantized, REFERENCE, codebook, quantization_error,
    quantize,
};
use rhapsode_tensor::Tensor;

use super::{Outcome, draw::next_seed, raise};
use crate::{
    Display,
    fault::{Fault, Spot},
    library::Library,
    options,
    value::Object,
};

impl Object for Quantized {
    const NAME: &'static str = "Quantized";

    fn text(&self) -> String {
        format!(
            "Quantized {:?}, {} bytes, blocks of {}",
            self.shape(),
            self.bytes(),
            self.block()
        )
    }

    fn summary(&self) -> String {
        format!("{:?}, blocks of {}", self.shape(), self.block())
    }

    fn bytes(&self) -> Option<u64> {
        Some(Quantized::bytes(self) as u64)
    }

    fn display(&self) -> Display {
        Display::text(self.text())
    }
}

/// Binds them.
pub(crate) fn bind(library: &mut Library) {
    library.object::<Quantized>("A tensor in 8 bits: a byte a number and a scale a block.");
    functions(library);
    errors(library);
    parts(library);
}

fn functions(library: &mut Library) {
    library
        .function(
            "optim::quantize",
            "(x: Tensor, options?: map) -> Quantized",
            r#"
            A tensor in 8 bits, as 8-bit optimizers keep their states: of every block of the flattened tensor the largest absolute
            value, and for each number the code of the nearest of 256 values to its share of it:

                code = argmin_k |x / absmax - map[k]|        x' = map[code] absmax

            Of two as near values the lower; a block of zeros has absmax 0.

            ```rhai
            let q = optim::quantize(tensor([1.0, -0.5, 0.0, 0.25]), #{ block: 4 });
            q.codes.to_array() // => [255, 35, 127, 201]
            ```
            "#,
        )
        .options::<QuantizeOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, x: Tensor| quantized(&call, &x, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, map: Map| quantized(&call, &x, &map));
    library
        .function(
            "optim::dequantize",
            "(q: Quantized) -> Tensor",
            r#"
            The numbers that a quantized tensor stands for, in its shape and dtype: map[code] absmax.

            ```rhai
            optim::dequantize(optim::quantize(tensor([2.0, 0.0, -2.0]), #{ code: "linear" })).to_array() // => [2.0, 0.0, -2.0]
            ```
            "#,
        )
        .reference(&REFERENCE)
        .call(|q: Quantized| -> Outcome<Tensor> { raise(q.dequantize()) });
    library
        .function(
            "optim::code",
            "(name: string, options?: map) -> Tensor",
            r#"
            The 256 values of an 8-bit code, ascending, f32 `[256]`: "dynamic" has relative steps over decades, "linear" equal steps.

            ```rhai
            optim::code("dynamic", #{ signed: false })[255].item() // => 1.0
            ```
            "#,
        )
        .options::<CodeOptions>()
        .reference(&REFERENCE)
        .call(|name: &str| code(name, &Map::new()))
        .call(|name: &str, map: Map| code(name, &map));
}

fn errors(library: &mut Library) {
    library
        .function(
            "optim::quantization_error",
            "(x: Tensor, options?: map) -> map",
            r#"
            How far a tensor moves when it is quantized and back: `mean_abs` |x' - x|, `mean_rel` |x' - x| / |x| over the numbers that are not 0, `max_abs`,
            and `zeroed`, the share of the numbers that are not 0 and become 0.

            ```rhai
            seed(0);
            let v = randn([4096]) ** 2;
            let by = |code| optim::quantization_error(v, #{ signed: false, code: code }).mean_rel;
            by.call("linear") > 5.0 * by.call("dynamic") // => true
            ```
            "#,
        )
        .options::<QuantizeOptions>()
        .reference(&REFERENCE)
        .call(|call: NativeCallContext, x: Tensor| error(&call, &x, &Map::new()))
        .call(|call: NativeCallContext, x: Tensor, map: Map| error(&call, &x, &map));
}

fn parts(library: &mut Library) {
    library
        .method::<Quantized>(
            "dequantize",
            "() -> Tensor",
            "The numbers that it stands for, as `optim::dequantize`.\n\n```rhai\noptim::quantize(ones([3])).dequantize().to_array() // => [1.0, 1.0, 1.0]\n```",
        )
        .call(|q: &mut Quantized| -> Outcome<Tensor> { raise(q.dequantize()) });
    library
        .property::<Quantized>("codes", "Tensor", "The codes, u8 of the tensor's shape.")
        .call(|q: &mut Quantized| -> Outcome<Tensor> { raise(q.codes()) });
    library
        .property::<Quantized>(
            "absmax",
            "Tensor",
            "The largest absolute value of every block, f32.",
        )
        .call(|q: &mut Quantized| -> Outcome<Tensor> { raise(q.absmax()) });
    library
        .property::<Quantized>("shape", "array of int", "The shape of the tensor.")
        .call(|q: &mut Quantized| -> Array {
            q.shape().iter().map(|n| Dynamic::from(*n as i64)).collect()
        });
    library
        .property::<Quantized>("block", "int", "Numbers that share a scale.")
        .call(|q: &mut Quantized| q.block() as i64);
    library
        .property::<Quantized>("bytes", "int", "Bytes that codes and scales take.")
        .call(|q: &mut Quantized| Quantized::bytes(q) as i64);
}

/// The options; stochastic rounding draws with the session's next seed.
fn chosen(call: &NativeCallContext, map: &Map) -> Outcome<QuantizeOptions> {
    let mut chosen: QuantizeOptions = options::read(map)?;
    if chosen.seed.is_none() && chosen.rounding != Default::default() {
        chosen.seed = Some(next_seed(call)?);
    }
    Ok(chosen)
}

fn quantized(call: &NativeCallContext, x: &Tensor, map: &Map) -> Outcome<Quantized> {
    raise(quantize(x, &chosen(call, map)?))
}

fn error(call: &NativeCallContext, x: &Tensor, map: &Map) -> Outcome<Map> {
    let found = raise(quantization_error(x, &chosen(call, map)?))?;
    let entries = [
        ("mean_abs", found.mean_abs),
        ("mean_rel", found.mean_rel),
        ("max_abs", found.max_abs),
        ("zeroed", found.zeroed),
    ];
    Ok(entries
        .map(|(key, value)| (key.into(), value.into()))
        .into())
}

fn code(name: &str, map: &Map) -> Outcome<Tensor> {
    let chosen: CodeOptions = options::read(map)?;
    let names = [("dynamic", CodeName::Dynamic), ("linear", CodeName::Linear)];
    let Some((_, found)) = names.iter().find(|(known, _)| *known == name) else {
        let fault = Fault::value(format!("there is no code {name:?}")).at(Spot::Argument(0));
        let known = names.map(|(known, _)| known);
        return Err(fault
            .nearest(name, known)
            .hint("codes: \"dynamic\", \"linear\"")
            .into());
    };
    raise(codebook(*found, &chosen))
}
