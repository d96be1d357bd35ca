//! Statements: declarations, blocks, what is dropped and what is never reached.

use rhai::{ASTFlags, Expr, FlowControl, Stmt, StmtBlock};

use super::{Checker, Value, leaves};
use crate::{Diagnostic, Kind, explain::place::start_of, modules};

/// What is said of a value that is dropped.
pub(super) const UNUSED: &str = "this value is not used";

/// Where a statement begins; Rhai places an operator's call at the operator.
pub(super) fn start(statement: &Stmt) -> rhai::Position {
    match statement {
        Stmt::FnCall(call, at) if call.op_token.is_some() => {
            call.args.first().map_or(*at, start_of)
        }
        Stmt::Expr(expression) => start_of(expression),
        other => other.position(),
    }
}

impl Checker<'_> {
    /// Statements in a row. The last one's value is that of the block when `gives` says so.
    pub(super) fn statements(&mut self, statements: &[Stmt], gives: bool) -> Value {
        let mut value = Value::unknown();
        let mut left = false;
        for (i, statement) in statements.iter().enumerate() {
            if left && !statement.is_noop() {
                let finding = Diagnostic::new(Kind::Syntax, "this is never reached");
                self.warn(finding, start(statement));
                left = false;
            }
            left = left || leaves(statement);
            value = self.statement(statement);
            let is_last = i + 1 == statements.len();
            if value.free
                && matches!(statement, Stmt::Expr(_) | Stmt::FnCall(..))
                && !(is_last && gives)
            {
                let mut finding = Diagnostic::new(Kind::Value, UNUSED);
                finding
                    .hints
                    .push("keep it with `let y = ...;` or look at it with `show(...)`".into());
                let place = self.whole(start(statement));
                self.findings.push(Diagnostic {
                    severity: crate::Severity::Warning,
                    place,
                    ..finding
                });
            }
        }
        value
    }

    /// A block in braces.
    pub(super) fn block(&mut self, block: &StmtBlock) -> Value {
        let mark = self.variables.mark();
        let value = self.statements(block.statements(), true);
        self.close(mark);
        value
    }

    fn statement(&mut self, statement: &Stmt) -> Value {
        match statement {
            Stmt::Expr(expression) => return self.expression(expression),
            Stmt::FnCall(call, position) => return self.call(call, *position),
            Stmt::Block(block) => return self.block(block),
            Stmt::If(flow, _) => return self.choice(flow),
            Stmt::Switch(switch, _) => {
                self.expression(&switch.0);
                for case in &switch.1.expressions {
                    self.expression(&case.lhs);
                    self.expression(&case.rhs);
                }
            }
            Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                self.expression(&flow.expr);
                self.block(&flow.body);
            }
            Stmt::For(parts, _) => self.repeat(parts),
            Stmt::Var(variable, flags, position) => {
                let value = self.expression(&variable.1);
                let (name, at) = (variable.0.as_str(), variable.0.pos);
                let certain = !self.assigned.contains(name) || flags.intersects(ASTFlags::CONSTANT);
                let kind = value.kind.filter(|_| certain);
                // `let run = model.fit(..)` is how a training is kept: also one that nobody looks at.
                let may_be_unread =
                    kind.as_deref() == Some("Run") || flags.intersects(ASTFlags::EXPORTED);
                let at = if at.is_none() { *position } else { at };
                self.variables.declare(name, kind, at);
                if may_be_unread {
                    self.variables.read(name);
                }
            }
            Stmt::Assignment(assignment) => self.assignment(&assignment.1.lhs, &assignment.1.rhs),
            Stmt::TryCatch(flow, _) => self.attempt(flow),
            Stmt::BreakLoop(Some(value), ..) | Stmt::Return(Some(value), ..) => {
                self.expression(value);
            }
            Stmt::Import(import, _) => {
                self.expression(&import.0);
                self.import(&import.0, import.1.as_str());
            }
            _ => {}
        }
        Value::unknown()
    }

    fn import(&mut self, path: &Expr, name: &str) {
        let Expr::StringConstant(file, position) = path else {
            self.imports.insert(name.to_string(), None);
            return;
        };
        let machine = self.machine;
        let members = modules::members(&machine.engine, &machine.context, self.source, file);
        let members = members.unwrap_or_else(|fault| {
            self.error(fault.diagnostic(), *position);
            None
        });
        self.imports.insert(name.to_string(), members);
    }

    fn choice(&mut self, flow: &FlowControl) -> Value {
        self.expression(&flow.expr);
        let (one, other) = (self.block(&flow.body), self.block(&flow.branch));
        let kind = one.kind.filter(|kind| other.kind.as_ref() == Some(kind));
        Value { kind, free: false }
    }

    fn repeat(&mut self, parts: &(rhai::Ident, Option<rhai::Ident>, FlowControl)) {
        let (name, counter, flow) = parts;
        let over = self.expression(&flow.expr);
        let mark = self.variables.mark();
        let kind = match over.kind.as_deref() {
            Some("range" | "range=") => Some("int".to_string()),
            _ => None,
        };
        let certain = |name: &str| !self.assigned.contains(name);
        let kind = kind.filter(|_| certain(name.as_str()));
        let count = Some("int".to_string());
        let count = counter
            .as_ref()
            .map(|counter| (counter, count.filter(|_| certain(counter.as_str()))));
        self.variables
            .declare(name.as_str(), kind, rhai::Position::NONE);
        if let Some((counter, kind)) = count {
            self.variables
                .declare(counter.as_str(), kind, rhai::Position::NONE);
        }
        self.block(&flow.body);
        self.close(mark);
    }

    fn attempt(&mut self, flow: &FlowControl) {
        self.block(&flow.body);
        let mark = self.variables.mark();
        if let Expr::Variable(caught, ..) = &flow.expr {
            self.variables
                .declare(&caught.1, None, rhai::Position::NONE);
        }
        self.block(&flow.branch);
        self.close(mark);
    }

    fn assignment(&mut self, target: &Expr, value: &Expr) {
        self.expression(value);
        match target {
            Expr::Variable(variable, _, position) if variable.2.is_empty() => {
                if self.variables.holds(&variable.1)
                    || self.machine.context.global(&variable.1).is_some()
                {
                    return;
                }
                let name = &variable.1;
                let finding = self.unknown_variable(name).hint(format!(
                    "a new variable is declared with `let {name} = ...`"
                ));
                self.error(finding.diagnostic(), *position);
            }
            other => {
                self.target(other);
            }
        }
    }
}
