//! Element types, and how they mix.
//!
//! Promotion is PyTorch's: `bool < u8 < i64 < bf16 < f32 < f64`, and an operation on two tensors runs
//! in the larger one ([`DType::promote`]). What only makes sense on floats (`exp`, a quotient, a mean) takes
//! integers as f32 ([`DType::float`]); arithmetic on bools counts, hence gives i64 ([`DType::counting`]).
//! A number beside a tensor of floats takes the tensor's dtype, so `x * 2.5` stays bf16 when `x` is.
//!
//! bf16 is storage: kernels read it as f32 and the result is rounded once, in `tape::record`; gradients
//! get the dtype of what they belong to, in the tape's backward pass. So no operation knows of it. bool
//! is u8 storage of zeros and ones with a mark on the tensor, because candle has none.

use candle_core::DType as Storage;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// True or false, a byte each: what comparisons give.
    Bool,
    /// Whole numbers 0 to 255: pixels, bytes.
    U8,
    /// Whole numbers: indices, labels, counts.
    I64,
    /// Floats of 16 bits with the range of f32 and 8 bits of precision.
    BF16,
    /// Floats of 32 bits.
    F32,
    /// Floats of 64 bits.
    F64,
}

impl DType {
    /// All of them, in the order of promotion.
    pub const ALL: [DType; 6] = [
        DType::Bool,
        DType::U8,
        DType::I64,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Its name in scripts and files: `f32`.
    pub fn as_str(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I64 => "i64",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }

    /// The dtype of a name; `None` for what is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.as_str() == name)
    }

    /// Bytes that an element takes.
    pub fn size_in_bytes(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::BF16 => 2,
            DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Whether it is bf16, f32 or f64: what can have a gradient.
    pub fn is_float(self) -> bool {
        matches!(self, DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether it is u8 or i64.
    pub fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::I64)
    }

    /// The dtype in which an operation on two dtypes runs: the larger one.
    #[must_use]
    pub fn promote(self, other: Self) -> Self {
        if self.order() >= other.order() {
            self
        } else {
            other
        }
    }

    /// The dtype of what only floats have: itself, or f32 for whole numbers and bools.
    #[must_use]
    pub fn float(self) -> Self {
        if self.is_float() { self } else { DType::F32 }
    }

    /// The dtype of sums and products: bools are counted.
    #[must_use]
    pub fn counting(self) -> Self {
        if self == DType::Bool {
            DType::I64
        } else {
            self
        }
    }

    /// How candle stores it.
    pub(crate) fn storage(self) -> Storage {
        match self {
            DType::Bool | DType::U8 => Storage::U8,
            DType::I64 => Storage::I64,
            DType::BF16 => Storage::BF16,
            DType::F32 => Storage::F32,
            DType::F64 => Storage::F64,
        }
    }

    fn order(self) -> usize {
        self as usize
    }
}

impl From<Storage> for DType {
    /// What candle's dtype holds. Types that we do not have are widened when a tensor is made, so the
    /// last two arms name what they become.
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::U8 => DType::U8,
            Storage::BF16 => DType::BF16,
            Storage::F64 => DType::F64,
            Storage::I64 | Storage::U32 | Storage::I16 | Storage::I32 => DType::I64,
            _ => DType::F32,
        }
    }
}
