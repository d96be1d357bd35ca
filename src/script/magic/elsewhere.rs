//! Magics of other kernels: what one does here instead.

use super::near;

/// Their names, and our way.
const OURS: &[(&str, &str)] = &[
    ("alias", "`!COMMAND` runs a command of the shell"),
    (
        "autoreload",
        "`import` reads a file anew when it has changed",
    ),
    ("clear", "`clear_output()` clears what a cell has shown"),
    (
        "conda",
        "there is no Python here; `!conda ..` runs the command",
    ),
    (
        "config",
        "options are given to the function that takes them",
    ),
    ("debug", "an error shows its line and the chain of calls"),
    ("file", "`%%writefile FILE` writes a file"),
    ("hist", "the arrow keys and Ctrl-R find earlier cells"),
    ("history", "the arrow keys and Ctrl-R find earlier cells"),
    ("javascript", "`html(..)` and `%%html` show HTML"),
    ("js", "`html(..)` and `%%html` show HTML"),
    (
        "load_ext",
        "nothing is to be loaded; `import` takes a file of yours",
    ),
    ("ls", "`!ls` lists the folder"),
    ("magic", "`%lsmagic` lists the magics"),
    (
        "matplotlib",
        "a figure is shown as it is: nothing is to be switched on",
    ),
    ("mkdir", "`!mkdir NAME` makes a folder"),
    (
        "notebook",
        "`rhapsode convert` makes a notebook of a script, and back",
    ),
    ("pdb", "an error shows its line and the chain of calls"),
    ("perl", "`%%bash` runs commands"),
    ("pinfo", "`?NAME` shows help"),
    ("pip", "there is no Python here; `!pip ..` runs the command"),
    ("prun", "`%time` and `%timeit` measure"),
    ("psource", "`?NAME` shows help"),
    ("pwd", "`%cd` tells the folder"),
    ("pycat", "`%load FILE` shows a file to be edited"),
    (
        "pylab",
        "a figure is shown as it is: nothing is to be switched on",
    ),
    (
        "python",
        "there is no Python here; `!python3 -c ..` runs the command",
    ),
    (
        "python3",
        "there is no Python here; `!python3 -c ..` runs the command",
    ),
    ("quickref", "`%lsmagic` lists the magics"),
    ("ruby", "`%%bash` runs commands"),
    (
        "save",
        "`:save FILE` in the REPL, `rhapsode convert` for a notebook",
    ),
    ("script", "`%%bash` runs commands"),
    ("set_env", "`%env NAME=VALUE` sets a variable for commands"),
    ("sh", "`%%bash` runs commands"),
    ("store", "`save(value, path)` and `load(path)` keep values"),
    ("svg", "`html(..)` shows SVG"),
    ("sx", "`!COMMAND` runs a command of the shell"),
    ("system", "`!COMMAND` runs a command of the shell"),
    ("tb", "an error shows its line and the chain of calls"),
    (
        "tensorboard",
        "`log_to(..)` writes for TensorBoard; `!tensorboard ..` starts it",
    ),
    ("whos", "`%vars` lists the variables with their types"),
    ("xmode", "an error shows its line and the chain of calls"),
];

/// What to do instead of a magic that is not there.
pub(super) fn hint(name: &str, is_cell: bool) -> Vec<String> {
    if let Some((_, ours)) = OURS.iter().find(|(other, _)| *other == name) {
        return vec![ours.to_string()];
    }
    let near = near(name).map(|magic| {
        let signs = match is_cell && magic.cell.is_some() || magic.line.is_none() {
            true => "%%",
            false => "%",
        };
        format!("did you mean `{signs}{}`?", magic.name)
    });
    near.into_iter()
        .chain(["`%lsmagic` lists the magics".to_string()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::magic::find;

    #[test]
    fn none_of_them_is_ours() {
        for (name, _) in OURS {
            assert!(find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_nearest_is_named_with_its_signs() {
        assert_eq!(hint("tiem", false)[0], "did you mean `%time`?");
        assert_eq!(hint("basch", false)[0], "did you mean `%%bash`?");
        assert_eq!(hint("zzz", true), ["`%lsmagic` lists the magics"]);
    }
}
