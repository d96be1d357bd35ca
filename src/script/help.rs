//! The documentation of everything that is bound: one registry that help, completion and error
//! messages read.

use std::{
    any::TypeId,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use rhai::{Engine, Map};
use rhapsode_models::reference::Reference as Paper;

use crate::{
    Diagnostic, Help, Kind,
    built_in::{self, BuiltIn},
    fault::Fault,
    names::nearest,
    schema::{Field, Schema},
    search,
    value::Types,
};

/// What sort of name an entry documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// `zeros`, `flow::rectified`.
    Function,
    /// `Tensor.sum`.
    Method,
    /// `Tensor.shape`.
    Property,
    /// `+`, `Tensor[]`.
    Operator,
    /// `flow`.
    Module,
    /// `Tensor`.
    Type,
    /// A page that is about no single name: `language`.
    Topic,
}

/// One documented name.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The full name: `zeros`, `flow::rectified`, `Tensor.sum`.
    pub name: String,
    /// What sort of name.
    pub kind: EntryKind,
    /// `(shape: array, options?: map) -> Tensor`; of a property its type.
    pub signature: &'static str,
    /// A summary in one line, then arguments and an example; Markdown, indented as it stands in the source.
    pub text: &'static str,
    /// The schema of the trailing option map.
    pub options: Option<OptionSchema>,
    /// Reads an option map into the struct, to see whether it fits.
    pub reads: Option<Reads>,
    /// What the option map takes besides: closures, tensors, which no schema holds.
    pub besides: Vec<Field>,
    /// The ways to call it, as the engine tells them apart.
    pub overloads: Vec<Overload>,
    /// Where the method comes from.
    pub paper: Option<&'static Paper>,
}

/// Where the schema of an option map comes from.
#[derive(Clone, Debug)]
pub(crate) enum OptionSchema {
    /// Derived from a struct when it is first asked for.
    OfType(fn() -> Arc<Schema>),
    /// Put together from an entry of a list.
    Whole(Arc<Schema>),
}

impl OptionSchema {
    /// The schema.
    pub fn schema(&self) -> Arc<Schema> {
        match self {
            Self::OfType(derive) => derive(),
            Self::Whole(schema) => Arc::clone(schema),
        }
    }
}

/// Reads an option map into a struct and drops it.
pub(crate) type Reads = fn(&Map) -> Result<(), Fault>;

/// One way to call a bound name.
#[derive(Clone, Debug)]
pub(crate) struct Overload {
    /// Types of the arguments; the receiver of a method is the first.
    pub takes: Vec<TypeId>,
    /// Type of the result.
    pub gives: TypeId,
}

/// The value of a function's name that is not called, so that `help(flow::rectified)` can be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionName(pub String);

impl Entry {
    /// An entry that cannot be called yet.
    pub fn new(
        name: impl Into<String>,
        kind: EntryKind,
        signature: &'static str,
        text: &'static str,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            signature,
            text,
            options: None,
            reads: None,
            besides: Vec::new(),
            overloads: Vec::new(),
            paper: None,
        }
    }

    /// All options in words: those of the schema, then what the map takes besides.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = self
            .options
            .as_ref()
            .map_or_else(Vec::new, |options| options.schema().fields());
        fields.extend(self.besides.iter().cloned());
        fields
    }

    /// What a call gives according to the signature, where that is one type.
    pub fn gives(&self) -> Option<&'static str> {
        let kind = match self.kind {
            EntryKind::Property => self.signature,
            _ => self.signature.rsplit_once("->")?.1.trim(),
        };
        let one = kind.split(' ').next().filter(|_| !kind.contains('|'))?;
        (one != "any").then_some(one)
    }

    /// The last part of the name, as it is typed after `::` or `.`.
    pub fn short(&self) -> &str {
        let name = self.name.rsplit("::").next().unwrap_or(&self.name);
        match self.kind {
            EntryKind::Method | EntryKind::Property => name.rsplit('.').next().unwrap_or(name),
            _ => name,
        }
    }

    /// The module or type that it belongs to.
    pub fn owner(&self) -> Option<&str> {
        match self.kind {
            EntryKind::Function => self.name.rsplit_once("::").map(|(owner, _)| owner),
            EntryKind::Method | EntryKind::Property => {
                self.name.rsplit_once('.').map(|(owner, _)| owner)
            }
            _ => None,
        }
    }

    /// The first sentence of the text.
    pub fn summary(&self) -> String {
        let lines = self.text.trim_start().lines().map(str::trim);
        let paragraph: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        let paragraph = paragraph.join(" ");
        let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
        paragraph.get(..end).unwrap_or("").to_string()
    }

    /// A line of the example that calls it.
    pub fn example(&self) -> Option<&'static str> {
        let call = format!("{}(", self.short());
        let mut lines = self.text.lines().map(str::trim);
        lines.find(|line| *line == "```rhai")?;
        let line = lines
            .take_while(|line| *line != "```")
            .find(|line| line.contains(&call))?;
        Some(line.split(" // ").next().unwrap_or(line).trim_end())
    }

    /// Name and signature in one line.
    pub fn headline(&self) -> String {
        match self.kind {
            EntryKind::Property => format!("{}: {}", self.name, self.signature),
            EntryKind::Module | EntryKind::Type | EntryKind::Topic => self.name.clone(),
            _ => format!("{}{}", self.name, self.signature),
        }
    }
}

/// A documented name, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The full name: `zeros`, `flow::rectified`, `Tensor.sum`.
    pub name: String,
    /// `function`, `method`, `property`, `operator`, `module`, `type` or `topic`.
    pub kind: &'static str,
    /// `(shape: array, options?: map) -> Tensor`; of a property its type.
    pub signature: String,
    /// The first sentence of the text.
    pub summary: String,
    /// The text without its indentation, as Markdown.
    pub text: String,
    /// The options that it takes.
    pub options: Vec<Field>,
    /// How many arguments it takes, the receiver of a method not counted.
    pub arities: Vec<usize>,
    /// The paper, in one line.
    pub paper: Option<String>,
}

/// All documented names.
pub(crate) struct Reference {
    entries: Vec<Entry>,
    index: HashMap<String, Vec<usize>>,
    built_in: OnceLock<Vec<BuiltIn>>,
    /// The types of ours.
    pub types: Types,
}

impl Reference {
    /// Puts the entries in order.
    pub fn new(entries: Vec<Entry>, types: Types) -> Self {
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, entry) in entries.iter().enumerate() {
            index.entry(entry.name.clone()).or_default().push(i);
        }
        Self {
            entries,
            index,
            built_in: OnceLock::new(),
            types,
        }
    }

    /// The functions that Rhai itself brings; listed when first asked for, since that takes
    /// milliseconds.
    pub fn built_in(&self, engine: &Engine) -> &[BuiltIn] {
        self.built_in.get_or_init(|| built_in::list(engine))
    }

    /// All entries in the order of their making.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All entries, part by part.
    pub fn topics(&self) -> Vec<Topic> {
        self.entries.iter().map(topic).collect()
    }

    /// The entries of one full name; more than one where a function has several signatures.
    pub fn get(&self, name: &str) -> impl Iterator<Item = &Entry> {
        self.index
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|&i| self.entries.get(i))
    }

    /// Whether there is a function of that full name.
    pub fn has_function(&self, name: &str) -> bool {
        self.get(name)
            .any(|entry| entry.kind == EntryKind::Function)
    }

    /// What belongs to a module or type.
    pub fn owned_by<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.owner() == Some(owner))
    }

    /// Global functions.
    pub fn functions(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Function && entry.owner().is_none())
    }

    /// The names of all modules.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = self
            .entries
            .iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::Module => Some(entry.name.as_str()),
                EntryKind::Function => entry.owner(),
                _ => None,
            })
            .collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }

    /// Help on a name; else on what another library calls so, or on what a question finds.
    pub fn help(&self, name: &str, engine: &Engine) -> Result<Help, Diagnostic> {
        self.exact(name, engine)
            .map_or_else(|| self.help_by_words(name, engine), Ok)
    }

    /// Help on a name: a function, a module, a type, or a method by its last part.
    pub fn exact(&self, name: &str, engine: &Engine) -> Option<Help> {
        let mut found: Vec<&Entry> = self.get(name).collect();
        let is_module = self.modules().contains(&name);
        if found.is_empty() && !is_module {
            found = self
                .entries
                .iter()
                .filter(|entry| entry.short() == name)
                .collect();
        }
        if found.is_empty() && !is_module {
            return built_in::help(name, self.built_in(engine));
        }
        let mut text = String::new();
        let mut markdown = String::new();
        for entry in &found {
            write_entry(entry, &mut text, &mut markdown);
        }
        let lists_members = is_module
            || found
                .iter()
                .any(|entry| matches!(entry.kind, EntryKind::Type | EntryKind::Module));
        if lists_members {
            self.write_members(name, found.is_empty(), &mut text, &mut markdown);
        }
        Some(Help {
            name: name.to_string(),
            text: text.trim_end().to_string(),
            markdown: markdown.trim_end().to_string(),
        })
    }

    /// Help where nothing has that name: what another library calls so, or what a question finds.
    fn help_by_words(&self, name: &str, engine: &Engine) -> Result<Help, Diagnostic> {
        let is_question = name.trim().contains(' ');
        let foreign =
            search::ours(name).filter(|ours| !is_question && self.get(ours).next().is_some());
        if let Some(ours) = foreign {
            let mut help = self.help(ours, engine)?;
            help.text = format!("`{name}` is `{ours}` here.\n\n{}", help.text);
            help.markdown = format!("`{name}` is `{ours}` here.\n\n{}", help.markdown);
            return Ok(help);
        }
        let unknown = self.unknown(name, engine);
        if !is_question && !unknown.hints.is_empty() {
            return Err(unknown);
        }
        let found = search::find(self, name);
        if found.is_empty() {
            return Err(unknown);
        }
        let width = found.iter().map(|entry| entry.name.chars().count()).max();
        let width = width.unwrap_or(0);
        let mut text = String::from("What is about this:\n\n");
        let mut markdown = text.clone();
        for entry in found {
            text.push_str(&format!("  {:width$}  {}\n", entry.name, entry.summary()));
            markdown.push_str(&format!("- `{}` {}\n", entry.name, entry.summary()));
        }
        text.push_str("\nhelp(\"NAME\") tells all about one.");
        Ok(Help {
            name: name.to_string(),
            text,
            markdown: markdown.trim_end().to_string(),
        })
    }

    fn unknown(&self, name: &str, engine: &Engine) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(
            Kind::Name,
            format!("no help on `{name}`: there is nothing of that name"),
        );
        let shorts = self.entries.iter().map(Entry::short);
        let names = self
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .chain(shorts)
            .chain(
                self.built_in(engine)
                    .iter()
                    .map(|function| function.name.as_str()),
            );
        if let Some(near) = nearest(name, names) {
            diagnostic.hints.push(format!("did you mean `{near}`?"));
        }
        diagnostic
    }

    /// The table of what belongs to a module or type.
    fn write_members(
        &self,
        owner: &str,
        with_title: bool,
        text: &mut String,
        markdown: &mut String,
    ) {
        if with_title {
            text.push_str(owner);
            text.push_str("\n\n");
            markdown.push_str(&format!("### `{owner}`\n\n"));
        }
        let members: Vec<&Entry> = self.owned_by(owner).collect();
        let width = members
            .iter()
            .map(|entry| entry.short().chars().count())
            .max()
            .unwrap_or(0);
        for entry in members {
            text.push_str(&format!(
                "  {:width$}  {}\n",
                entry.short(),
                entry.summary()
            ));
            markdown.push_str(&format!("- `{}` {}\n", entry.short(), entry.summary()));
        }
    }
}

fn topic(entry: &Entry) -> Topic {
    let receiver = usize::from(matches!(
        entry.kind,
        EntryKind::Method | EntryKind::Property
    ));
    let arity = |overload: &Overload| overload.takes.len().saturating_sub(receiver);
    let mut arities: Vec<usize> = entry.overloads.iter().map(arity).collect();
    arities.sort_unstable();
    arities.dedup();
    Topic {
        name: entry.name.clone(),
        kind: match entry.kind {
            EntryKind::Function => "function",
            EntryKind::Method => "method",
            EntryKind::Property => "property",
            EntryKind::Operator => "operator",
            EntryKind::Module => "module",
            EntryKind::Type => "type",
            EntryKind::Topic => "topic",
        },
        signature: entry.signature.to_string(),
        summary: entry.summary(),
        text: dedent(entry.text),
        options: entry.fields(),
        arities,
        paper: entry.paper.map(Paper::line),
    }
}

/// Adds one entry, with the table of its options.
fn write_entry(entry: &Entry, text: &mut String, markdown: &mut String) {
    let body = dedent(entry.text);
    text.push_str(&format!(
        "{}\n\n{}\n",
        entry.headline(),
        without_fences(&body)
    ));
    markdown.push_str(&format!("### `{}`\n\n{body}\n", entry.headline()));
    let fields = entry.fields();
    if fields.is_empty() {
        write_paper(entry, text, markdown);
        text.push('\n');
        markdown.push('\n');
        return;
    }
    text.push_str("\nOptions:\n");
    markdown.push_str("\n| option | type and default | |\n|---|---|---|\n");
    let width = fields
        .iter()
        .map(|field| field.name.chars().count())
        .max()
        .unwrap_or(0);
    for field in &fields {
        text.push_str(&format!("  {:width$}  {}\n", field.name, field.detail()));
        for line in field.text.lines() {
            text.push_str(&format!("  {:width$}    {line}\n", ""));
        }
        let one_line = field.text.replace('\n', " ");
        markdown.push_str(&format!(
            "| `{}` | {} | {one_line} |\n",
            field.name,
            field.detail().replace('|', "\\|")
        ));
    }
    write_paper(entry, text, markdown);
    text.push('\n');
    markdown.push('\n');
}

/// Adds where a method comes from.
fn write_paper(entry: &Entry, text: &mut String, markdown: &mut String) {
    if let Some(paper) = entry.paper {
        text.push_str(&format!("\nPaper: {}\n", paper.line()));
        markdown.push_str(&format!("\n*{}*\n", paper.line()));
    }
}

/// Help on a function of the script, from the `///` comments above it.
pub(crate) fn of_script(name: &str, function: &rhai::ScriptFnMetadata) -> Help {
    let headline = format!("{name}({})", function.params.join(", "));
    let strip = |line: &str| {
        line.trim_start()
            .trim_start_matches("///")
            .trim_start_matches(' ')
            .to_string()
    };
    let body = function
        .comments
        .iter()
        .flat_map(|comment| comment.lines())
        .map(strip)
        .collect::<Vec<_>>()
        .join("\n");
    let text = format!("{headline}\n\n{}", without_fences(&body));
    let markdown = format!("### `{headline}`\n\n{body}");
    Help {
        name: name.to_string(),
        text: text.trim_end().to_string(),
        markdown: markdown.trim_end().to_string(),
    }
}

/// A text without the indentation that it has in the source.
pub(crate) fn dedent(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let first = text.lines().next().map_or(0, indent);
    let rest = text
        .lines()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .map(indent)
        .min()
        .unwrap_or(0);
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push_str(
            line.get(if i == 0 { first } else { rest }..)
                .unwrap_or("")
                .trim_end(),
        );
    }
    out
}

/// Code blocks indented instead of fenced: for a terminal.
fn without_fences(markdown: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
            continue;
        }
        out.push_str(if inside { "    " } else { "" });
        out.push_str(line);
        out.push('\n');
    }
    out.trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        let entry = Entry::new;
        Reference::new(
            vec![
                entry("flow", EntryKind::Module, "", "Flows and interpolants."),
                entry(
                    "flow::rectified",
                    EntryKind::Function,
                    "(options: map) -> Flow",
                    "A rectified flow.\n\n            ```rhai\n            let m = 1;\n            ```",
                ),
                entry(
                    "Tensor.sum",
                    EntryKind::Method,
                    "(axis?: int) -> Tensor",
                    "The sum.",
                ),
            ],
            Types::default(),
        )
    }

    #[test]
    fn help_is_found_by_full_and_last_name() {
        let reference = reference();
        let engine = Engine::new();
        let help = reference.help("flow::rectified", &engine).unwrap();
        assert_eq!(
            help.text,
            "flow::rectified(options: map) -> Flow\n\nA rectified flow.\n\n    let m = 1;"
        );
        assert!(
            help.markdown.contains("```rhai\nlet m = 1;\n```"),
            "{}",
            help.markdown
        );
        assert!(
            reference
                .help("sum", &engine)
                .unwrap()
                .text
                .starts_with("Tensor.sum(axis?: int)")
        );
        assert!(
            reference
                .help("flow", &engine)
                .unwrap()
                .text
                .contains("rectified  A rectified flow.")
        );
        let unknown = reference.help("flow::rectifed", &engine).unwrap_err();
        assert!(
            reference
                .help("to_upper", &engine)
                .unwrap()
                .text
                .starts_with("to_upper(")
        );
        assert_eq!(unknown.hints, ["did you mean `flow::rectified`?"]);
    }
}
