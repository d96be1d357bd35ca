//! What a run leaves behind: it takes figures and records and puts them into the run's folder.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::{Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rhapsode_script::{
    Diagnostic, Display, Record,
    log::{Entry, Format, Log},
};

use super::{
    folder::Folder,
    manifest::{Manifest, Status, stem},
};
use crate::{args::RunArgs, error::Error, files};

/// The results of one run.
pub struct Outputs {
    folder: Folder,
    manifest: Manifest,
    /// How metrics are written.
    formats: Vec<Format>,
    /// One for every format, open from the first record on.
    logs: Vec<Log>,
    /// Figures written so far.
    figures: usize,
    /// The number of each figure that has an id, as its updates replace it.
    numbers: BTreeMap<String, usize>,
    /// The newest state of updated figures, written at the end: a live plot changes many times a second.
    updated: BTreeMap<usize, Display>,
    started: Instant,
}

impl Outputs {
    /// The results of a run that begins now. A folder that was asked for is made at once.
    pub fn new(args: &RunArgs, source: &str) -> Result<Self, Error> {
        let now = SystemTime::now();
        let folder = match &args.out {
            Some(path) => Folder::given(path.clone())?,
            None => Folder::default_for(&stem(&args.file), now),
        };
        let mut outputs = Self {
            folder,
            manifest: Manifest::new(args, source, now),
            formats: match args.log.is_empty() {
                true => vec![Format::Jsonl],
                false => args.log.clone(),
            },
            logs: Vec::new(),
            figures: 0,
            numbers: BTreeMap::new(),
            updated: BTreeMap::new(),
            started: Instant::now(),
        };
        if outputs.folder.path().is_some() {
            outputs.folder.write_manifest(&mut outputs.manifest)?;
        }
        Ok(outputs)
    }

    /// Adds a record to every log.
    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        self.manifest.record(record);
        if self.logs.is_empty() {
            for format in &self.formats {
                let there = self.folder.path().unwrap_or(Path::new(""));
                let name = format.file_name(there);
                let path = self.folder.file(&name, &mut self.manifest)?;
                let folder = path.parent().unwrap_or(Path::new("."));
                self.logs
                    .push(Log::create(*format, folder).map_err(|e| unwritten(&path, &e))?);
            }
        }
        let entry = Entry {
            source: &record.source,
            step: record.step,
            elapsed: self.started.elapsed(),
            values: &record.values,
        };
        self.logs.iter_mut().try_for_each(|log| {
            let path = log.path().to_path_buf();
            log.write(&entry).map_err(|e| unwritten(&path, &e))
        })
    }

    /// Writes a figure; gives its path, or nothing when the display has no picture.
    pub fn figure(&mut self, display: &Display) -> Result<Option<PathBuf>, Error> {
        if !is_figure(display) {
            return Ok(None);
        }
        self.figures += 1;
        if let Some(id) = &display.id {
            self.numbers.insert(id.clone(), self.figures);
        }
        self.write_figure(self.figures, display)
    }

    /// Writes the table of an experiment as data; the last one counts.
    pub fn report(&mut self, json: &str) -> Result<(), Error> {
        let path = self.folder.file("report.json", &mut self.manifest)?;
        files::write(&path, json.as_bytes())
    }

    /// Takes a new state of a figure that was shown before.
    pub fn update(&mut self, display: Display) {
        if let Some(&number) = display.id.as_ref().and_then(|id| self.numbers.get(id)) {
            self.updated.insert(number, display);
        }
    }

    /// Where the model of a variable belongs.
    pub fn model(&mut self, name: &str) -> Result<PathBuf, Error> {
        self.folder
            .file(&format!("models/{name}.safetensors"), &mut self.manifest)
    }

    /// Writes what is still to be written and the manifest, if there is a folder; gives its path.
    pub fn end(
        mut self,
        status: Status,
        error: Option<&Diagnostic>,
    ) -> Result<Option<PathBuf>, Error> {
        for (number, display) in std::mem::take(&mut self.updated) {
            self.write_figure(number, &display)?;
        }
        let Some(path) = self.folder.path().map(Path::to_path_buf) else {
            return Ok(None);
        };
        for log in &mut self.logs {
            let path = log.path().to_path_buf();
            log.flush().map_err(|e| unwritten(&path, &e))?;
        }
        self.manifest
            .end(status, error, self.folder.files(), self.started.elapsed());
        self.folder.write_manifest(&mut self.manifest)?;
        Ok(Some(path))
    }

    /// Writes the forms of a figure that it has; gives the path of the first.
    fn write_figure(&mut self, number: usize, display: &Display) -> Result<Option<PathBuf>, Error> {
        let mut first = None;
        if let Some(svg) = display.get("image/svg+xml") {
            let path = self
                .folder
                .file(&format!("figure-{number:02}.svg"), &mut self.manifest)?;
            files::write(&path, svg.as_bytes())?;
            first = Some(path);
        }
        if let Some(png) = display
            .get("image/png")
            .and_then(|png| STANDARD.decode(png).ok())
        {
            let path = self
                .folder
                .file(&format!("figure-{number:02}.png"), &mut self.manifest)?;
            files::write(&path, &png)?;
            first = first.or(Some(path));
        }
        Ok(first)
    }
}

/// A log that could not be written.
fn unwritten(path: &Path, error: &dyn std::error::Error) -> Error {
    // The message begins with the path, which the error of the program says itself.
    let text = error.to_string();
    let reason = text
        .strip_prefix(&format!("{}: ", path.display()))
        .unwrap_or(&text);
    Error::Write {
        path: path.to_path_buf(),
        source: io::Error::other(reason.to_string()),
    }
}

/// Whether a display has a picture.
pub fn is_figure(display: &Display) -> bool {
    display.get("image/svg+xml").is_some() || display.get("image/png").is_some()
}
