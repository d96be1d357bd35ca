//! Finds the part of a call that an error means: an argument, a key of the option map, its value.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt, Token};

use super::Explainer;
use crate::{
    Place,
    fault::Spot,
    help::{Entry, EntryKind, Reference},
    lexer::lex,
    sources::{byte_at, span_place},
};

/// The place of a spot in the call at `position` of a source, if the code shows it.
pub(crate) fn of_spot(
    explainer: &Explainer,
    source: &str,
    position: Position,
    spot: &Spot,
) -> Option<Place> {
    if *spot == Spot::Call {
        return None;
    }
    let text = explainer.sources.text(source)?;
    let ast = explainer.engine.compile(&*text).ok()?;
    let reference = explainer.names.reference.as_deref();
    let mut found = None;
    ast.walk(&mut |path: &[ASTNode]| {
        if found.is_none()
            && let Some((call, is_method)) = path.last().and_then(|node| call_at(node, position))
        {
            found = Some(part_of(reference, &ast, call, is_method, spot));
        }
        found.is_none()
    });
    let (start, whole) = found??;
    Some(range(source, &text, start, whole))
}

/// The call of a node when it stands at the position, and whether it is written as a method.
fn call_at<'a>(node: &ASTNode<'a>, position: Position) -> Option<(&'a FnCallExpr, bool)> {
    match *node {
        ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at))
            if *at == position =>
        {
            Some((call, false))
        }
        ASTNode::Expr(Expr::MethodCall(call, at)) if *at == position => Some((call, true)),
        _ => None,
    }
}

/// The position of the part, and whether its whole expression is meant or only its first token.
fn part_of(
    reference: Option<&Reference>,
    ast: &rhai::AST,
    call: &FnCallExpr,
    is_method: bool,
    spot: &Spot,
) -> Option<(Position, bool)> {
    match spot {
        Spot::Call => None,
        Spot::Argument(index) => {
            let is_plain = !is_method && call.namespace.is_empty();
            let takes_receiver = reference.is_some_and(|r| is_only_method(r, &call.name));
            let shift = usize::from(is_plain && takes_receiver);
            call.args
                .get(index + shift)
                .map(|argument| (argument.start_position(), true))
        }
        Spot::Key(path) => option(ast, call, path).map(|(key, _)| (key, false)),
        Spot::Value(path) => option(ast, call, path).map(|(_, value)| (value, true)),
    }
}

/// Whether a name is only known as a method: then `f(x, 1)` means `x.f(1)`.
fn is_only_method(reference: &Reference, name: &str) -> bool {
    let is_method = |entry: &Entry| entry.kind == EntryKind::Method && entry.short() == name;
    !reference.has_function(name) && reference.entries().iter().any(is_method)
}

/// The positions of key and value of an option in the last map of the call.
fn option(ast: &rhai::AST, call: &FnCallExpr, path: &[String]) -> Option<(Position, Position)> {
    let last = call.args.iter().rev().find_map(|argument| match argument {
        Expr::Map(..) => Some(argument),
        Expr::Variable(name, ..) => map_of_variable(ast, &name.1, argument.position()),
        _ => None,
    })?;
    let mut map = last;
    let mut found = None;
    for key in path {
        let Expr::Map(entries, _) = map else { break };
        let Some((ident, value)) = entries.0.iter().find(|(ident, _)| ident.as_str() == key) else {
            break;
        };
        found = Some((ident.pos, value.start_position()));
        map = value;
    }
    found
}

/// The map literal that a variable was last given before `before` at the top of the same code.
fn map_of_variable<'a>(ast: &'a rhai::AST, name: &str, before: Position) -> Option<&'a Expr> {
    let literal = |statement: &'a Stmt| match statement {
        Stmt::Var(var, ..) if var.0.as_str() == name => Some(&var.1),
        _ => None,
    };
    let earlier = ast
        .statements()
        .iter()
        .filter(|statement| statement.position() < before);
    earlier
        .filter_map(literal)
        .next_back()
        .filter(|expr| matches!(expr, Expr::Map(..)))
}

/// Where an expression begins; Rhai places the call of an operator at the operator.
pub(crate) fn start_of(expression: &Expr) -> Position {
    match expression {
        Expr::FnCall(call, at) if call.op_token.is_some() => {
            call.args.first().map_or(*at, start_of)
        }
        Expr::Dot(parts, ..) | Expr::Index(parts, ..) => start_of(&parts.lhs),
        other => other.start_position(),
    }
}

/// The place of the token at a position, or of the whole expression that begins there.
pub(crate) fn range(source: &str, text: &str, start: Position, whole: bool) -> Place {
    let from = byte_at(
        text,
        start.line().unwrap_or(1),
        start.position().unwrap_or(1),
    );
    let lexed = lex(text);
    let mut end = lexed.at(from).map_or(from + 1, |(_, lexeme)| lexeme.end);
    if whole {
        let mut depth = 0usize;
        for lexeme in lexed.code().filter(|lexeme| lexeme.start >= from) {
            match lexeme.token {
                Token::LeftBrace
                | Token::LeftParen
                | Token::LeftBracket
                | Token::MapStart
                | Token::QuestionBracket => depth += 1,
                Token::RightBrace | Token::RightParen | Token::RightBracket if depth == 0 => break,
                Token::RightBrace | Token::RightParen | Token::RightBracket => depth -= 1,
                Token::Comma | Token::SemiColon if depth == 0 => break,
                _ => {}
            }
            end = lexeme.end;
        }
    }
    span_place(source, text, from, end)
}
