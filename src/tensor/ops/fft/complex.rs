//! Complex numbers as a last axis of size 2: (real, imaginary).

use crate::{DType, Error, Result, Tensor};

/// Refuses bf16, whose 8 bits a transform would use up.
pub(in crate::ops) fn precise(op: &'static str, x: &Tensor) -> Result<()> {
    match x.dtype() {
        got @ DType::BF16 => Err(Error::DType {
            op,
            expected: "f32 or f64",
            got,
        }),
        _ => Ok(()),
    }
}

/// Refuses what is not complex numbers.
pub(in crate::ops) fn check(op: &'static str, x: &Tensor) -> Result<()> {
    precise(op, x)?;
    if x.dims().last() == Some(&2) {
        return Ok(());
    }
    let detail = format!(
        "expected complex numbers as a last axis of size 2 (see complex(re, im)), got shape {:?}",
        x.dims()
    );
    Err(Error::Shape { op, detail })
}

impl Tensor {
    /// `re + i im`: `[..]` and `[..]` to `[.., 2]`; shapes broadcast.
    pub fn complex(re: &Tensor, im: &Tensor) -> Result<Tensor> {
        let shape = super::super::broadcast_shape("complex", re.dims(), im.dims())?;
        Tensor::stack(&[&re.broadcast_to(&shape)?, &im.broadcast_to(&shape)?], -1)
    }

    /// The real part, `[.., 2]` to `[..]`.
    pub fn real(&self) -> Result<Tensor> {
        check("real", self)?;
        self.select(-1, 0)
    }

    /// The imaginary part, `[.., 2]` to `[..]`.
    pub fn imag(&self) -> Result<Tensor> {
        check("imag", self)?;
        self.select(-1, 1)
    }

    /// `(a + ib)(c + id) = (ac - bd) + i(ad + bc)`; shapes `[.., 2]` broadcast.
    pub fn complex_mul(&self, other: &Tensor) -> Result<Tensor> {
        check("complex_mul", self)?;
        check("complex_mul", other)?;
        let (a, b, c, d) = (self.real()?, self.imag()?, other.real()?, other.imag()?);
        let re = a.mul(&c)?.sub(&b.mul(&d)?)?;
        let im = a.mul(&d)?.add(&b.mul(&c)?)?;
        Tensor::stack(&[&re, &im], -1)
    }

    /// `x / y = x conj(y) / |y|^2`; shapes `[.., 2]` broadcast.
    pub fn complex_div(&self, other: &Tensor) -> Result<Tensor> {
        check("complex_div", self)?;
        check("complex_div", other)?;
        let size = other.sqr()?.sum(&[-1])?.unsqueeze(-1)?;
        self.complex_mul(&other.conj()?)?.div(&size)
    }

    /// `|z| = sqrt(re^2 + im^2)`, `[.., 2]` to `[..]`; its gradient at 0 is 0.
    pub fn complex_abs(&self) -> Result<Tensor> {
        check("complex_abs", self)?;
        self.norm(-1)
    }

    /// `re - i im`.
    pub fn conj(&self) -> Result<Tensor> {
        check("conj", self)?;
        self.mul(&Tensor::from_vec(vec![1.0, -1.0], &[2])?.to_dtype(self.dtype())?)
    }

    /// `e^z = e^re (cos im + i sin im)`.
    pub fn complex_exp(&self) -> Result<Tensor> {
        check("complex_exp", self)?;
        let (size, angle) = (self.real()?.exp()?, self.imag()?);
        Tensor::stack(&[&size.mul(&angle.cos()?)?, &size.mul(&angle.sin()?)?], -1)
    }
}
