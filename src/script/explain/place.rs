//! Finds the part of a call that an error means: an argument, a key of the option map, its value.

use rhai::{ASTNode, Engine, Expr, FnCallExpr, Position, Stmt, Token};

use crate::{
    Place,
    fault::Spot,
    lexer::lex,
    sources::{byte_at, span_place},
};

/// The place of a spot in the call at `position`, if the code shows it.
pub(crate) fn of_spot(
    engine: &Engine,
    source: &str,
    text: &str,
    position: Position,
    spot: &Spot,
) -> Option<Place> {
    let ast = engine.compile(text).ok()?;
    let mut found = None;
    ast.walk(&mut |path: &[ASTNode]| {
        if found.is_none()
            && let Some((call, is_method)) = path.last().and_then(|node| call_at(node, position))
        {
            found = Some(part_of(engine, &ast, call, is_method, spot));
        }
        found.is_none()
    });
    let (start, whole) = found??;
    Some(range(source, text, start, whole))
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
    engine: &Engine,
    ast: &rhai::AST,
    call: &FnCallExpr,
    is_method: bool,
    spot: &Spot,
) -> Option<(Position, bool)> {
    match spot {
        Spot::Call => None,
        Spot::Argument(index) => {
            // `sum(x, 1)` is `x.sum(1)`: with fewer overloads than that, the receiver is the first.
            let shift = usize::from(
                !is_method && call.namespace.is_empty() && is_documented_method(engine, &call.name),
            );
            call.args
                .get(index + shift)
                .map(|argument| (argument.start_position(), true))
        }
        Spot::Key(path) => option(ast, call, path).map(|(key, _)| (key, false)),
        Spot::Value(path) => option(ast, call, path).map(|(_, value)| (value, true)),
    }
}

fn is_documented_method(engine: &Engine, name: &str) -> bool {
    let context = engine_context(engine);
    context
        .and_then(|context| {
            let reference = context.reference()?;
            let methods = reference.entries().iter().any(|entry| {
                entry
                    .owner()
                    .is_some_and(|owner| owner.starts_with(char::is_uppercase))
                    && entry.short() == name
            });
            Some(methods && !reference.has_function(name))
        })
        .unwrap_or(false)
}

fn engine_context(engine: &Engine) -> Option<std::sync::Arc<crate::context::Context>> {
    let state = engine.new_global_runtime_state();
    state
        .tag
        .read_lock::<std::sync::Arc<crate::context::Context>>()
        .map(|context| std::sync::Arc::clone(&context))
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
    ast.statements()
        .iter()
        .filter(|statement| statement.position() < before)
        .filter_map(|statement| match statement {
            Stmt::Var(var, ..) if var.0.as_str() == name => Some(&var.1),
            _ => None,
        })
        .last()
        .filter(|expr| matches!(expr, Expr::Map(..)))
}

/// The place of the token at a position, or of the whole expression that begins there.
fn range(source: &str, text: &str, start: Position, whole: bool) -> Place {
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
