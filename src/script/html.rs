//! The reference as pages of HTML: one a module and type, an index, and a search that works from a file.
//!
//! Static and without a network: the style and the short script stand in every page, light or dark as the
//! reader's system is. Names in back-ticks lead to their entries.

use std::fmt::Write;

use crate::{
    bind::escape,
    help::{Entry, EntryKind, Reference, dedent},
};

/// A page of the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The name of its file: `flow.html`.
    pub file: String,
    /// Its contents.
    pub html: String,
}

/// Where the functions without a module stand.
const GLOBAL: &str = "functions";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#5b6470;--paper:#fff;--card:#f5f6f8;--line:#dde1e6;--link:#0b62c4}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa4b0;--paper:#15171a;--card:#1f2226;--line:#33383e;--link:#6cb2ff}}
*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);display:flex}
nav{width:15rem;padding:1rem;border-right:1px solid var(--line);position:sticky;top:0;height:100vh;overflow:auto;flex:none}
nav ul{list-style:none;padding:0;margin:.3rem 0 1rem}nav h2{font-size:.8rem;color:var(--soft);margin:0;text-transform:uppercase}
main{padding:1rem 2rem;max-width:60rem;min-width:0}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
code,pre{font:.9em/1.5 ui-monospace,monospace}pre{background:var(--card);padding:.8rem;border-radius:6px;overflow:auto}
section{border-top:1px solid var(--line);padding:.4rem 0 1rem}h3{font:600 1rem ui-monospace,monospace;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid var(--line);padding:.3rem .5rem;text-align:left;vertical-align:top}
.soft{color:var(--soft)}input{width:100%;padding:.4rem;font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:6px}
@media(max-width:45rem){body{display:block}nav{width:auto;height:auto;position:static;border:0}main{padding:1rem}}";

const SCRIPT: &str = "\
const box=document.getElementById('q'),out=document.getElementById('found');
box.addEventListener('input',()=>{const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);
out.replaceChildren();if(!words.length)return;
const hits=INDEX.map(([name,text,href])=>{const n=name.toLowerCase(),t=text.toLowerCase();let s=0;
for(const w of words){const h=(n===w||n.endsWith('.'+w)||n.endsWith('::'+w)?9:n.includes(w)?5:0)+(t.includes(w)?1:0);if(!h)return null;s+=h}
return[s,name,text,href]}).filter(Boolean).sort((a,b)=>b[0]-a[0]).slice(0,30);
for(const[,name,text,href]of hits){const li=document.createElement('li'),a=document.createElement('a');
a.href=href;a.textContent=name;a.title=text;li.append(a);out.append(li)}});";

/// All pages.
pub(crate) fn pages(reference: &Reference) -> Vec<Page> {
    let mut names: Vec<(String, &str)> = vec![(GLOBAL.to_string(), "Modules")];
    names.extend(
        reference
            .modules()
            .iter()
            .map(|m| (m.to_string(), "Modules")),
    );
    let mut types: Vec<&str> = reference.types.names().collect();
    types.sort_unstable();
    names.extend(types.iter().map(|name| (name.to_string(), "Types")));
    let of_kind = |kind| {
        reference
            .entries()
            .iter()
            .filter(move |entry| entry.kind == kind)
    };
    names.extend(of_kind(EntryKind::Topic).map(|entry| (entry.name.clone(), "Topics")));
    names.push(("operators".to_string(), "Topics"));
    let navigation = navigation(&names);
    let index = index(reference);
    let mut pages = vec![page(
        "index",
        &front(reference, &names),
        &navigation,
        &index,
    )];
    for (name, _) in &names {
        let mut body = String::new();
        let own = reference.get(name).filter(|entry| {
            matches!(
                entry.kind,
                EntryKind::Module | EntryKind::Type | EntryKind::Topic
            )
        });
        let title = if name == GLOBAL {
            "Functions without a module"
        } else {
            name
        };
        push(&mut body, format_args!("<h1>{}</h1>", escape(title)));
        for entry in own {
            body.push_str(&prose(reference, entry.text));
        }
        for entry in members(reference, name) {
            body.push_str(&section(reference, entry));
        }
        pages.push(page(name, &body, &navigation, &index));
    }
    pages
}

/// Writing into a string cannot fail.
fn push(out: &mut String, text: std::fmt::Arguments) {
    let _ = out.write_fmt(text);
}

/// What stands on the page of a module, type or topic.
fn members<'a>(reference: &'a Reference, page: &'a str) -> Vec<&'a Entry> {
    let on_page = |entry: &&Entry| home(entry) == page && !is_page(entry);
    reference.entries().iter().filter(on_page).collect()
}

/// Whether an entry is a page of its own.
fn is_page(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Module | EntryKind::Type | EntryKind::Topic
    )
}

/// The page on which an entry stands.
fn home(entry: &Entry) -> &str {
    match entry.kind {
        EntryKind::Operator => "operators",
        EntryKind::Function => entry.owner().unwrap_or(GLOBAL),
        EntryKind::Method | EntryKind::Property => entry.owner().unwrap_or(GLOBAL),
        EntryKind::Module | EntryKind::Type | EntryKind::Topic => &entry.name,
    }
}

fn href(entry: &Entry) -> String {
    match is_page(entry) {
        true => format!("{}.html", home(entry)),
        false => format!("{}.html#{}", home(entry), anchor(&entry.name)),
    }
}

/// A name as the target of a link.
fn anchor(name: &str) -> String {
    let letter = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => c.to_string(),
        ':' | '.' => "-".to_string(),
        other => format!("x{:x}", u32::from(other)),
    };
    name.replace("::", ":").chars().map(letter).collect()
}

fn page(name: &str, body: &str, navigation: &str, index: &str) -> Page {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{name} - Rhapsode</title><style>{STYLE}</style></head>\n\
         <body><nav><p><a href=\"index.html\"><b>Rhapsode</b></a></p><input id=\"q\" type=\"search\" \
         placeholder=\"search\" aria-label=\"search\"><ul id=\"found\"></ul>{navigation}</nav>\n\
         <main>{body}</main>\n<script>const INDEX={index};\n{SCRIPT}</script></body></html>\n",
        name = escape(name)
    );
    Page {
        file: format!("{name}.html"),
        html,
    }
}

fn navigation(names: &[(String, &str)]) -> String {
    let mut out = String::new();
    let mut open = "";
    for (name, group) in names {
        if *group != open {
            let end = if open.is_empty() { "" } else { "</ul>" };
            push(&mut out, format_args!("{end}<h2>{group}</h2><ul>"));
            open = group;
        }
        let name = escape(name);
        push(
            &mut out,
            format_args!("<li><a href=\"{name}.html\">{name}</a></li>"),
        );
    }
    out + "</ul>"
}

/// Name, summary and place of everything, for the search.
fn index(reference: &Reference) -> String {
    let rows: Vec<serde_json::Value> = reference
        .entries()
        .iter()
        .map(|entry| serde_json::json!([entry.name, entry.summary(), href(entry)]))
        .collect();
    // `</script>` in a text must not end the script.
    serde_json::Value::from(rows)
        .to_string()
        .replace('<', "\\u003c")
}

/// The first page: what there is, a line each.
fn front(reference: &Reference, names: &[(String, &str)]) -> String {
    let mut out = String::from("<h1>Reference</h1><table>");
    for (name, _) in names {
        let about = reference
            .get(name)
            .find(|entry| is_page(entry))
            .map_or(String::new(), Entry::summary);
        let about = if name == GLOBAL {
            "Functions that stand without a module.".into()
        } else {
            about
        };
        let members: Vec<String> = members(reference, name)
            .iter()
            .filter(|entry| entry.kind == EntryKind::Function)
            .map(|entry| format!("<a href=\"{}\">{}</a>", href(entry), escape(entry.short())))
            .collect();
        push(
            &mut out,
            format_args!(
                "<tr><td><a href=\"{0}.html\"><code>{0}</code></a></td><td>{1}<br><span class=\"soft\">{2}</span></td></tr>",
                escape(name),
                inline(reference, &about),
                members.join(" ")
            ),
        );
    }
    out + "</table>"
}

/// One entry: signature, text, options, paper.
fn section(reference: &Reference, entry: &Entry) -> String {
    let mut out = format!(
        "<section id=\"{}\"><h3>{}</h3>{}",
        anchor(&entry.name),
        escape(&entry.headline()),
        prose(reference, entry.text)
    );
    let fields = entry.fields();
    if !fields.is_empty() {
        out.push_str("<table><tr><th>option</th><th>type and default</th><th></th></tr>");
        for field in fields {
            push(
                &mut out,
                format_args!(
                    "<tr><td><code>{}</code></td><td><code>{}</code></td><td>{}</td></tr>",
                    escape(&field.name),
                    escape(&field.detail()),
                    inline(reference, &field.text)
                ),
            );
        }
        out.push_str("</table>");
    }
    if let Some(paper) = entry.paper {
        let line = escape(&paper.line());
        let line = match paper.arxiv {
            "" => line,
            number => format!("<a href=\"https://arxiv.org/abs/{number}\">{line}</a>"),
        };
        push(&mut out, format_args!("<p class=\"soft\">{line}</p>"));
    }
    out + "</section>\n"
}

/// Paragraphs, lists and code blocks.
fn prose(reference: &Reference, text: &str) -> String {
    let mut out = String::new();
    let mut open = "";
    let mut turn = |out: &mut String, kind: &'static str| {
        if open != kind {
            out.push_str(match open {
                "p" => "</p>",
                "ul" => "</ul>",
                "pre" => "</pre>",
                _ => "",
            });
            out.push_str(match kind {
                "p" => "<p>",
                "ul" => "<ul>",
                "pre" => "<pre>",
                _ => "",
            });
            open = kind;
        }
    };
    let mut code = false;
    for line in dedent(text).lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
            turn(&mut out, if code { "pre" } else { "" });
        } else if code {
            push(&mut out, format_args!("{}\n", escape(line)));
        } else if line.trim().is_empty() {
            turn(&mut out, "");
        } else if let Some(item) = line.strip_prefix("- ") {
            turn(&mut out, "ul");
            push(&mut out, format_args!("<li>{}", inline(reference, item)));
        } else {
            turn(&mut out, "p");
            push(&mut out, format_args!("{}\n", inline(reference, line)));
        }
    }
    turn(&mut out, "");
    out
}

/// Code in a line; a documented name leads to its entry.
fn inline(reference: &Reference, text: &str) -> String {
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        if i % 2 == 0 {
            out.push_str(&escape(part));
            continue;
        }
        let name = part
            .split(['(', '#'])
            .next()
            .unwrap_or(part)
            .trim_start_matches('?');
        match reference.get(name).next() {
            Some(entry) => push(
                &mut out,
                format_args!(
                    "<a href=\"{}\"><code>{}</code></a>",
                    href(entry),
                    escape(part)
                ),
            ),
            None => push(&mut out, format_args!("<code>{}</code>", escape(part))),
        }
    }
    out
}
