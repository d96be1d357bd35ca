//! Everything that goes wrong becomes a [`Diagnostic`]: severity, position, message, trace and
//! hints. Front ends only render it.

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It did not work.
    Error,
    /// It worked, and is probably not what was meant.
    Warning,
}

/// What sort of thing went wrong; a kernel sends it as the error's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The code cannot be parsed.
    Syntax,
    /// A name that nobody knows: function, variable, property, module.
    Name,
    /// A value of the wrong type.
    Type,
    /// Shapes that do not fit.
    Shape,
    /// An option map: unknown key, wrong type, impossible value.
    Option,
    /// An impossible value elsewhere.
    Value,
    /// NaN or infinity where a number was needed.
    Numeric,
    /// A file or stream.
    Io,
    /// More memory, time, depth or size than there is.
    Limit,
    /// The user stopped it.
    Interrupted,
    /// Thrown by the script itself.
    Thrown,
    /// A defect of Rhapsode (a panic was caught).
    Internal,
}

impl Kind {
    /// The name shown before the message, e.g. `shape error`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Syntax => "syntax error",
            Kind::Name => "name error",
            Kind::Type => "type error",
            Kind::Shape => "shape error",
            Kind::Option => "option error",
            Kind::Value => "value error",
            Kind::Numeric => "numeric error",
            Kind::Io => "io error",
            Kind::Limit => "limit error",
            Kind::Interrupted => "interrupted",
            Kind::Thrown => "error",
            Kind::Internal => "internal error",
        }
    }
}

/// Where: a source, a line of it and the columns on that line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cell (`cell 3`) or the file's path.
    pub source: String,
    /// Line, from 1.
    pub line: usize,
    /// First column, from 1, in code points.
    pub column: usize,
    /// One past the last column.
    pub end: usize,
    /// The text of that line.
    pub text: String,
}

/// One call on the way to the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The function that was called.
    pub function: String,
    /// From where.
    pub place: Option<Place>,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// What sort.
    pub kind: Kind,
    /// One sentence without a final full stop.
    pub message: String,
    /// Where, if anywhere.
    pub place: Option<Place>,
    /// The chain of calls, innermost first.
    pub trace: Vec<Frame>,
    /// What to do about it.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            kind,
            message: message.into(),
            place: None,
            trace: Vec::new(),
            hints: Vec::new(),
        }
    }
}
