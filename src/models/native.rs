//! Options that are values of a program, not data: tensors, optimizers, functions. A field of an options struct that
//! holds one is skipped by `serde`, and stands in the schema with the name of its type, so that help and
//! completion know it:
//!
//! ```text
//! #[serde(skip)]
//! #[schemars(!skip, skip_serializing, with = "TensorValue")]
//! pub labels: Option<Tensor>,
//! ```

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// The key of a schema under which the name of the type stands.
pub const TYPE: &str = "x-type";

/// Stands for a tensor, or nested arrays of its numbers.
pub struct TensorValue;

/// Stands for inputs with the targets that belong to them.
pub struct PairValue;

/// Stands for a choice of optimizer.
pub struct OptimizerValue;

/// Stands for a function of the caller's.
pub struct ClosureValue;

/// Stands for a flow.
pub struct FlowValue;

/// Stands for a number or a function of the caller's.
pub struct RateValue;

impl JsonSchema for TensorValue {
    fn schema_name() -> Cow<'static, str> {
        "Tensor".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ TYPE: "Tensor" }, { "type": "array" }] })
    }
}

impl JsonSchema for PairValue {
    fn schema_name() -> Cow<'static, str> {
        "pair".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ TYPE: "[Tensor, Tensor]" })
    }
}

impl JsonSchema for OptimizerValue {
    fn schema_name() -> Cow<'static, str> {
        "OptimizerChoice".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ TYPE: "OptimizerChoice" })
    }
}

impl JsonSchema for ClosureValue {
    fn schema_name() -> Cow<'static, str> {
        "closure".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ TYPE: "closure" })
    }
}

impl JsonSchema for FlowValue {
    fn schema_name() -> Cow<'static, str> {
        "flow".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ TYPE: "RectifiedFlow | Interpolant | Flow" })
    }
}

impl JsonSchema for RateValue {
    fn schema_name() -> Cow<'static, str> {
        "rate".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "number" }, { TYPE: "closure" }] })
    }
}
