//! What Rhai itself brings: `push`, `to_upper`, `sqrt`, ..., for help, completion and suggestions.

use rhai::{Engine, FuncInfo};

use crate::{Help, value::type_word};

/// A function that Rhai itself brings.
#[derive(Clone, Debug)]
pub(crate) struct BuiltIn {
    /// Its name.
    pub name: String,
    /// Types of its parameters in the users' words.
    pub types: Vec<String>,
    /// Parameter names, where known.
    parameters: Vec<String>,
    /// Its documentation.
    pub text: String,
}

impl BuiltIn {
    /// `push(array, item: any)`.
    pub fn headline(&self) -> String {
        let typed = |(i, kind): (usize, &String)| match self
            .parameters
            .get(i)
            .filter(|name| !name.is_empty() && *name != "_")
        {
            Some(name) => format!("{name}: {kind}"),
            None => kind.clone(),
        };
        let parameters: Vec<String> = self.types.iter().enumerate().map(typed).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }

    /// Whether its first parameter is of that type.
    pub fn takes(&self, kind: &str) -> bool {
        self.types
            .first()
            .is_some_and(|first| first == kind || first == "any")
    }
}

/// Help on a built-in function: all its forms, and the text of the first that has one.
pub(crate) fn help(name: &str, known: &[BuiltIn]) -> Option<Help> {
    let forms: Vec<&BuiltIn> = known
        .iter()
        .filter(|function| function.name == name)
        .collect();
    let text = forms
        .iter()
        .map(|form| form.text.trim())
        .find(|text| !text.is_empty());
    let text = text.unwrap_or_default();
    let mut headlines: Vec<String> = forms.iter().map(|form| form.headline()).collect();
    headlines.dedup();
    if headlines.is_empty() {
        return None;
    }
    let titles: Vec<String> = headlines
        .iter()
        .map(|line| format!("### `{line}`"))
        .collect();
    Some(Help {
        name: name.to_string(),
        text: format!("{}\n\n{text}", headlines.join("\n"))
            .trim_end()
            .to_string(),
        markdown: format!("{}\n\n{text}", titles.join("\n"))
            .trim_end()
            .to_string(),
    })
}

/// The functions that Rhai itself brings, without operators and property getters.
pub(crate) fn list(engine: &Engine) -> Vec<BuiltIn> {
    engine.collect_fn_metadata(None, built_in, true)
}

fn built_in(info: FuncInfo) -> Option<BuiltIn> {
    let metadata = info.metadata;
    let name = metadata.name.as_str();
    let is_name = name.starts_with(|c: char| c.is_alphabetic()) && !name.contains('$');
    // What is bound by us has its documentation elsewhere, and no parameter names here.
    if !is_name || metadata.params_info.is_empty() {
        return None;
    }
    let split = |parameter: &rhai::Identifier| match parameter.split_once(':') {
        Some((name, kind)) => (name.trim().to_string(), kind.trim().to_string()),
        None => (parameter.trim().to_string(), String::new()),
    };
    let parameters = metadata.params_info.iter().take(metadata.num_params);
    let (parameters, types): (Vec<String>, Vec<String>) = parameters.map(split).unzip();
    let word = |kind: &String| type_word(kind.trim_start_matches("&mut ")).to_string();
    let lines: Vec<&str> = metadata.comments.iter().map(|line| line.as_str()).collect();
    Some(BuiltIn {
        name: name.to_string(),
        types: types.iter().map(word).collect(),
        parameters,
        text: lines.join("\n").replace("/// ", "").replace("///", ""),
    })
}
