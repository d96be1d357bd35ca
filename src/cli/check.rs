//! `rhapsode check`: what is wrong with a script, without running it; with `--cost` a forecast.

use std::{path::Path, process::ExitCode, time::Duration};

use rhapsode_script::{Event, Frontend, Session, SessionOptions, Severity, Trial, Unit, words};

use crate::{
    args::CheckArgs, error::Error, files, notebook, run::read_stdin, screen::Screen, signals, table,
};

/// Checks a script: the exit code is 1 when it cannot work.
pub fn run(args: &CheckArgs) -> Result<ExitCode, Error> {
    let blocked = signals::block(signals::Policy::Script);
    let from_stdin = args.file == Path::new("-");
    let is_notebook = notebook::is_notebook(&args.file);
    if is_notebook && args.cost {
        return Err(Error::NoForecast);
    }
    let source = match (from_stdin, is_notebook) {
        (true, _) => read_stdin()?,
        (_, true) => String::new(),
        _ => files::read_script(&args.file)?,
    };
    let mut session = Session::new(SessionOptions {
        args: args.settings.iter().cloned().collect(),
        trial: args.cost,
        ..SessionOptions::default()
    });
    let cell = session.interrupt_handle();
    let last_signal = blocked.watch(move || cell.interrupt());
    let mut screen = Screen::new(session.interrupt_handle(), true);
    let name = args.file.display().to_string();
    let findings = match is_notebook {
        true => notebook::check(&session, &args.file)?,
        false => session.check(&name, source.trim_start_matches('\u{feff}'), Unit::File),
    };
    for finding in &findings {
        screen.complain(finding);
    }
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let errors = count(Severity::Error);
    screen.lines(&format!(
        "{name}: {}, {}",
        counted(errors, "error"),
        counted(count(Severity::Warning), "warning")
    ));
    let mut code = ExitCode::from(u8::from(errors > 0));
    if args.cost && errors == 0 {
        let outcome = match from_stdin {
            true => session.execute(&source, &mut Silent),
            false => session.execute_file(&args.file, &mut Silent),
        };
        screen.lines(&forecast(&session.trials()));
        if let Err(error) = outcome {
            screen.complain(&error);
            code = match error.kind {
                rhapsode_script::Kind::Interrupted => ExitCode::from(last_signal.exit_code()),
                _ => ExitCode::FAILURE,
            };
        }
    }
    Ok(screen.close()?.unwrap_or(code))
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A trial shows nothing: its numbers are those of three steps.
struct Silent;

impl Frontend for Silent {
    fn event(&mut self, event: Event) {
        if let Event::Input { reply, .. } = event {
            // The asking cell may have been stopped; then nobody waits for the answer.
            let _ = reply.send(None);
        }
    }
}

/// The table of trainings and loops, and the time of all.
fn forecast(trials: &[Trial]) -> String {
    if trials.is_empty() {
        return "no training and no loop of `progress` to time".into();
    }
    let title = |text: &str| console::style(text).bold().to_string();
    let head = [
        "work",
        "parameters",
        "memory",
        "a step",
        "steps",
        "forecast",
    ];
    let mut rows = vec![head.iter().map(|text| title(text)).collect::<Vec<_>>()];
    for trial in trials {
        let memory = trial.state_bytes.unwrap_or(0) + trial.grown_bytes.unwrap_or(0);
        rows.push(vec![
            trial.label.clone(),
            trial.parameters.map_or("-".into(), |n| n.to_string()),
            table::size_text(memory),
            words::duration(trial.step),
            trial.steps.map_or("?".into(), |n| n.to_string()),
            trial.forecast().map_or("?".into(), words::duration),
        ]);
    }
    let total: Duration = trials.iter().filter_map(Trial::forecast).sum();
    format!(
        "{}\nabout {} for these",
        table::render(&rows),
        words::duration(total)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forecast_adds_up() {
        let trial = |label: &str, steps| Trial {
            label: label.into(),
            steps,
            step: Duration::from_millis(20),
            parameters: Some(1_000),
            state_bytes: Some(1 << 20),
            grown_bytes: Some(1 << 20),
        };
        let text = forecast(&[trial("fit rectified flow", Some(100)), trial("loop", None)]);
        let text = console::strip_ansi_codes(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].starts_with("fit rectified flow  1000        2.0 MiB"),
            "{text}"
        );
        assert!(lines[1].ends_with("20.0 ms  100    2.0 s"), "{text}");
        assert!(lines[2].ends_with("?"), "{text}");
        assert_eq!(lines.last(), Some(&"about 2.0 s for these"));
    }
}
