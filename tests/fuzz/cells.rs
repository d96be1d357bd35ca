//! Random cells over a surface: mostly arguments of the right type, so that the calls get far, and some of any other.

use rhapsode_tensor::random::Stream;

use crate::surface::Callable;

/// Names that cells assign, besides those of the prelude.
const SLOTS: [&str; 5] = ["a0", "a1", "a2", "a3", "a4"];
const INTS: [&str; 14] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "-2",
    "7",
    "64",
    "255",
    "1000",
    "100_000",
    "1_000_000_000_000",
    "9_223_372_036_854_775_807",
    "(-9_223_372_036_854_775_807)",
];
const FLOATS: [&str; 13] = [
    "0.0",
    "-0.0",
    "0.5",
    "1.0",
    "-1.5",
    "3.25",
    "1e-3",
    "1e-320",
    "1e30",
    "1e308",
    "(0.0 / 0.0)",
    "(1.0 / 0.0)",
    "(-1.0 / 0.0)",
];
const STRINGS: [&str; 16] = [
    "\"\"",
    "\"f32\"",
    "\"f64\"",
    "\"i64\"",
    "\"cpu\"",
    "\"cuda\"",
    "\"loss\"",
    "\"heun\"",
    "\"out.svg\"",
    "\"out.csv\"",
    "\"out.safetensors\"",
    "\"no/such/folder/x.npy\"",
    "\"a\\nb\"",
    "\"ä👩‍🚀\"",
    "\"ij,jk->ik\"",
    "\"😀\".to_upper()",
];
const CLOSURES: [&str; 11] = [
    "|| 1",
    "|x| x",
    "|x| x * 2.0",
    "|x, t| x * -1.0",
    "|x, t| x.sin() + t",
    "|a, b, c| a",
    "|x| x.sum()",
    "|x| throw \"no\"",
    "|x| zeros([2])",
    "|x| \"text\"",
    "|x, t| x.no_such_method()",
];
const OPERATORS: [&str; 15] = [
    "+", "-", "*", "/", "%", "**", "@", "==", "!=", "<", ">=", "&&", "|", "&", "in",
];

/// Random decisions: a function of the seed, the group and how many came before.
pub(crate) struct Dice {
    stream: Stream,
    count: u64,
}

impl Dice {
    /// Dice of their own for a group of cells.
    pub fn new(seed: u64, group: u64) -> Self {
        Self {
            stream: Stream::new(seed, "fuzz").at(group),
            count: 0,
        }
    }

    /// A number below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        let mut out = [0];
        self.stream.at(self.count).below(n.max(1) as u64, &mut out);
        self.count += 1;
        out[0] as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }

    fn word(&mut self, list: &[&str]) -> String {
        self.pick(list).map_or_else(String::new, |w| w.to_string())
    }
}

/// Makes cells.
pub(crate) struct Generator<'a> {
    /// Random decisions.
    pub dice: Dice,
    /// What can be called.
    pub surface: &'a [Callable],
    /// Name and type of the variables of the prelude.
    pub variables: &'a [(String, String)],
}

impl Generator<'_> {
    /// One cell: a few statements.
    pub fn cell(&mut self) -> String {
        let statements = 1 + self.dice.below(4) / 2;
        (0..statements)
            .map(|_| self.statement())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn statement(&mut self) -> String {
        let slot = self.dice.word(&SLOTS);
        // Deep expressions seldom get to their end: most are shallow.
        let depth = 1 + self.dice.below(5) / 2;
        match self.dice.below(16) {
            0..=6 => format!("let {slot} = {};", self.expression(depth)),
            7..=11 => self.expression(depth),
            12 => format!("{slot} = {};", self.expression(depth)),
            13 => {
                let target = self.variable(None);
                let value = self.expression(2);
                let index = self.index();
                let assign = self.dice.word(&["=", "+=", "*="]);
                format!("{target}[{index}] {assign} {value};")
            }
            14 => {
                let many = self.expression(2);
                let body = self.expression(2);
                format!("for i in {many} {{ {body}; if i == 3 {{ break; }} }}")
            }
            _ => {
                let (tried, caught) = (self.expression(2), self.expression(1));
                format!("try {{ {tried}; }} catch(e) {{ {caught}; }}")
            }
        }
    }

    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.any();
        }
        match self.dice.below(12) {
            0..=7 => self.call(depth),
            8 => {
                let (a, b) = (self.expression(depth - 1), self.expression(depth - 1));
                format!("({a} {} {b})", self.dice.word(&OPERATORS))
            }
            9 => {
                let (a, index) = (self.expression(depth - 1), self.index());
                format!("{a}[{index}]")
            }
            10 => format!("{}.{}", self.variable(None), self.member()),
            _ => self.any(),
        }
    }

    /// A call of something documented, mostly with arguments as it wants them.
    fn call(&mut self, depth: usize) -> String {
        let surface = self.surface;
        let Some(callable) = self.dice.pick(surface) else {
            return self.any();
        };
        let object = callable.owner.as_ref().map(|owner| {
            let owner = (!self.dice.chance(5)).then_some(owner.as_str());
            self.variable(owner)
        });
        let start = match object {
            Some(object) => format!("{object}.{}", callable.name),
            None => callable.name.clone(),
        };
        let form = self.dice.pick(&callable.forms);
        let Some(form) = form else {
            return start;
        };
        let mut arguments: Vec<String> = form
            .iter()
            .map(|kind| self.argument(kind, callable, depth - 1))
            .collect();
        match self.dice.below(30) {
            0 => arguments.push(self.any()),
            1 => drop(arguments.pop()),
            _ => {}
        }
        format!("{start}({})", arguments.join(", "))
    }

    fn argument(&mut self, kind: &str, callable: &Callable, depth: usize) -> String {
        if self.dice.chance(4) {
            return self.any();
        }
        let kinds: Vec<&str> = kind.split('|').map(str::trim).collect();
        let kind = self.dice.pick(&kinds).copied().unwrap_or("any");
        match kind {
            "map" if !callable.options.is_empty() => self.options(callable),
            "Tensor" if depth > 0 && self.dice.chance(25) => self.expression(depth),
            kind => self.value(kind),
        }
    }

    fn options(&mut self, callable: &Callable) -> String {
        let count = self.dice.below(4);
        let entries: Vec<String> = (0..count)
            .filter_map(|_| {
                let (key, values) = self.dice.pick(&callable.options)?;
                let value = match values.is_empty() || self.dice.chance(10) {
                    true => self.any(),
                    false => format!("\"{}\"", self.dice.pick(values)?),
                };
                // Small counts often, so that trainings and solutions get done.
                let value = match key.as_str() {
                    "steps" | "batch" | "hidden" if self.dice.chance(70) => {
                        let small = 1 + self.dice.below(5);
                        match key.as_str() {
                            "hidden" => format!("[{small}]"),
                            _ => small.to_string(),
                        }
                    }
                    _ => value,
                };
                let key = if self.dice.chance(3) { "stpes" } else { key };
                Some(format!("{key}: {value}"))
            })
            .collect();
        format!("#{{ {} }}", entries.join(", "))
    }

    /// A value of a type in the words of signatures.
    fn value(&mut self, kind: &str) -> String {
        match kind {
            "int" => self.dice.word(&INTS),
            "float" | "number" => self.number(),
            "bool" => self.dice.word(&["true", "false"]),
            "string" => self.dice.word(&STRINGS),
            "map" => "#{ a: 1, b: ones([2]) }".into(),
            "range" => self
                .dice
                .word(&["0..2", "1..=3", "-1..5", "3..1", "0..1_000_000_000_000"]),
            "closure" | "function" => self.dice.word(&CLOSURES),
            kind if kind.starts_with("array") => self.array(),
            kind => self.variable(Some(kind)),
        }
    }

    fn number(&mut self) -> String {
        match self.dice.chance(30) {
            true => self.dice.word(&INTS),
            false => self.dice.word(&FLOATS),
        }
    }

    fn array(&mut self) -> String {
        let count = self.dice.below(4);
        let kind = self
            .dice
            .word(&["int", "int", "float", "Tensor", "string", "array", "any"]);
        let items: Vec<String> = (0..count)
            .map(|_| match kind.as_str() {
                // Sizes of axes, mostly.
                "int" => (1 + self.dice.below(4)).to_string(),
                kind => self.value(kind),
            })
            .collect();
        format!("[{}]", items.join(", "))
    }

    fn index(&mut self) -> String {
        match self.dice.below(5) {
            0 => self.dice.word(&INTS),
            1 => self.value("range"),
            2 => self.dice.word(&[
                "()",
                "[0, 1..2]",
                "[(), 0]",
                "[-1, ()]",
                "[0, 0, 0, 0]",
                "\"key\"",
                "[]",
            ]),
            3 => self.variable(Some("Tensor")),
            _ => self.any(),
        }
    }

    /// A variable of a type; of any, where there is none.
    fn variable(&mut self, kind: Option<&str>) -> String {
        if kind.is_none() && self.dice.chance(30) {
            return self.dice.word(&SLOTS);
        }
        let fits = |v: &&(String, String)| kind.is_none_or(|kind| v.1 == kind);
        let found: Vec<&(String, String)> = self.variables.iter().filter(fits).collect();
        match self.dice.pick(&found) {
            Some((name, _)) => name.clone(),
            None => self.any(),
        }
    }

    fn any(&mut self) -> String {
        match self.dice.below(9) {
            0 => self.dice.word(&INTS),
            1 => self.number(),
            2 => self.dice.word(&STRINGS),
            3 => self.array(),
            4 => self.dice.word(&[
                "true",
                "()",
                "'c'",
                "#{}",
                "0..3",
                "no_such_name",
                "#{ steps: 2 }",
            ]),
            5 => self.dice.word(&CLOSURES),
            _ => self.variable(None),
        }
    }

    fn member(&mut self) -> String {
        let surface = self.surface;
        match self.dice.pick(surface) {
            Some(callable) if callable.owner.is_some() => callable.name.clone(),
            _ => self
                .dice
                .word(&["shape", "loss", "len()", "no_such_property", "to_string()"]),
        }
    }
}
