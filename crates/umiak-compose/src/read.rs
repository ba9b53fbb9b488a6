//! Reads the files of a project into one model: several files over one another, `extends`, `include`.

use std::collections::BTreeMap;
use std::io;

use crate::error::{At, ComposeError, Place, Problem};
use crate::limits::ComposeLimits;
use crate::template::{Missing, Template, Unset};
use crate::yaml::value::expand;
use crate::yaml::{Shape, Syntax, Value};
use crate::{merge, paths, schema, variables};

/// The files around a project. Paths are relative to its directory, with `/`; they may begin with `../` or be absolute.
pub trait Files {
    /// The file's bytes, or `None` if there is none. Of a file with more than `limit` bytes it is enough to give one
    /// more than the limit.
    ///
    /// # Errors
    /// What the system reports.
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
}

impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str, _limit: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.get(path).cloned())
    }
}

/// Names and values of variables.
pub(crate) type Variables = BTreeMap<String, String>;

/// Reads and remembers.
pub(crate) struct Reader<'a> {
    pub files: &'a dyn Files,
    pub limits: &'a ComposeLimits,
    /// Every compose file that was read.
    pub read: Vec<Syntax>,
    /// What they say, by name.
    parsed: BTreeMap<String, Value>,
    /// Values made so far, all files together.
    made: usize,
}

/// The project that files are read for: a directory and the variables of it.
pub(crate) struct Around<'a> {
    pub directory: &'a str,
    pub variables: &'a Variables,
    /// Files that include one another, the outermost first.
    pub chain: &'a [String],
}

impl<'a> Reader<'a> {
    pub fn new(files: &'a dyn Files, limits: &'a ComposeLimits) -> Self {
        Self { files, limits, read: vec![], parsed: BTreeMap::new(), made: 0 }
    }

    /// All `names`, each over those before.
    pub fn project(&mut self, names: &[String], around: &Around<'_>) -> Result<Value, ComposeError> {
        let mut model: Option<Value> = None;
        for name in names {
            let file = self.file(name, around)?;
            let merged = match model {
                None => file,
                Some(model) => merge::merge(model, file, &[]),
            };
            self.spend(&merged)?;
            model = Some(merged);
        }
        model.ok_or_else(|| Problem::NoProject(vec![]).at(Place::default()))
    }

    /// One file with what it extends and includes.
    fn file(&mut self, name: &str, around: &Around<'_>) -> Result<Value, ComposeError> {
        let mut file = self.parse(name)?;
        self.extend_all(&mut file, around)?;
        self.include_all(&mut file, around)?;
        Ok(file)
    }

    fn parse(&mut self, name: &str) -> Result<Value, ComposeError> {
        if let Some(known) = self.parsed.get(name).cloned() {
            self.spend(&known)?;
            return Ok(known);
        }
        if self.read.len() >= self.limits.files {
            let limit = self.limits.files as u64;
            return Err(Problem::Limit { what: "compose files in a project", limit }.at(Place::file(name)));
        }
        let bytes = self.bytes(name, self.limits.document)?;
        let bytes = bytes.ok_or_else(|| Problem::NoFile.at(Place::file(name)))?;
        let syntax = Syntax::parse(name, &bytes, self.limits)?;
        let index = self.read.len();
        self.read.push(syntax);
        let value = expand(&self.read[index], index, self.limits)?;
        if value.as_map().is_none() {
            let problem = Problem::Shape { what: "a compose file".into(), expected: "a map", found: value.kind() };
            return Err(problem.at(value.place(&self.read)));
        }
        schema::check(&value, &self.read)?;
        self.spend(&value)?;
        self.parsed.insert(name.to_owned(), value.clone());
        Ok(value)
    }

    fn bytes(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ComposeError> {
        self.files.read(name, limit).map_err(|error| Problem::Read(error).at(Place::file(name)))
    }

    /// The variables of a file of variables; `None` if there is no such file.
    pub fn variables(&self, name: &str, around: &Variables) -> Result<Option<Variables>, ComposeError> {
        let Some(bytes) = self.bytes(name, self.limits.variables)? else { return Ok(None) };
        if bytes.len() as u64 > self.limits.variables {
            let limit = self.limits.variables;
            return Err(Problem::Limit { what: "bytes in a file of variables", limit }.at(Place::file(name)));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| Problem::Encoding.at(Place::file(name)))?;
        variables::parse(name, text, around).map(Some)
    }

    /// What was put together counts: a small file must not become a large project.
    fn spend(&mut self, value: &Value) -> Result<(), ComposeError> {
        self.made += size(value);
        if self.made > self.limits.expanded {
            let limit = self.limits.expanded as u64;
            return Err(Problem::Limit { what: "values in a project", limit }.at(value.place(&self.read)));
        }
        Ok(())
    }

    /// A text with its variables filled in; each must have a value.
    pub fn fill(&self, value: &Value, variables: &Variables) -> Result<String, ComposeError> {
        let text = value.as_text().unwrap_or("");
        fill(text, variables).map_err(|problem| problem.at(value.place(&self.read)))
    }

    // --- extends

    fn extend_all(&mut self, file: &mut Value, around: &Around<'_>) -> Result<(), ComposeError> {
        let Some(services) = file.at(&["services"]).cloned() else { return Ok(()) };
        let names = services.as_map().map(|map| map.entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>());
        for name in names.unwrap_or_default() {
            if services.at(&[&name, "extends"]).is_none() {
                continue;
            }
            let extended = self.extended(&services, &name, around.directory, around, &mut vec![])?;
            if let Some(service) = file.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Value::as_map_mut)
            {
                service.set(&name, extended);
            }
        }
        Ok(())
    }

    /// Service `name` of `services` with what it extends below it. `directory` is that of its file.
    fn extended(
        &mut self,
        services: &Value,
        name: &str,
        directory: &str,
        around: &Around<'_>,
        chain: &mut Vec<String>,
    ) -> Result<Value, ComposeError> {
        let service = services.at(&[name]).cloned().unwrap_or_else(|| Value::null_like(services));
        let Some(extends) = service.at(&["extends"]).filter(|extends| !extends.is_null()).cloned() else {
            return Ok(service);
        };
        let place = extends.place(&self.read);
        let link = format!("{name} ({})", place.file);
        if let Some(at) = chain.iter().position(|known| *known == link) {
            let chain = chain[at..].iter().cloned().chain([link]).collect();
            return Err(Problem::Cycle { what: "services that extend one another", chain }.at(place));
        }
        if chain.len() >= self.limits.chain {
            let limit = self.limits.chain as u64;
            return Err(Problem::Limit { what: "services that extend one another", limit }.at(place));
        }
        chain.push(link);
        let base_name = match extends.at(&["service"]) {
            Some(base) => self.fill(base, around.variables)?,
            None => self.fill(&extends, around.variables)?,
        };
        let missing = || Problem::Missing { by: format!("service `{name}`"), what: "service", name: base_name.clone() };
        let base = match extends.at(&["file"]) {
            None => {
                services.at(&[&base_name]).ok_or_else(|| missing().at(place))?;
                self.extended(services, &base_name, directory, around, chain)?
            }
            Some(file) => {
                let file = paths::join(directory, &self.fill(file, around.variables)?);
                let other = self.parse(&file)?;
                let empty = Value::null_like(&other);
                let others = other.at(&["services"]).unwrap_or(&empty);
                others.at(&[&base_name]).ok_or_else(|| missing().at(place))?;
                let from = paths::directory(&file);
                let mut base = self.extended(others, &base_name, from, around, chain)?;
                if let Some(relative) = relative(from, directory) {
                    paths::rebase_service(&mut base, &relative);
                }
                base
            }
        };
        let mut own = service;
        if let Some(map) = own.as_map_mut() {
            map.remove("extends");
        }
        let merged = merge::merge(base, own, &["services", name]);
        self.spend(&merged)?;
        Ok(merged)
    }

    // --- include

    fn include_all(&mut self, file: &mut Value, around: &Around<'_>) -> Result<(), ComposeError> {
        let Some(include) = file.as_map_mut().and_then(|map| map.remove("include")) else { return Ok(()) };
        for item in include.value.as_list().unwrap_or(&[]) {
            let included = self.included(item, around)?;
            self.import(file, included, item)?;
        }
        Ok(())
    }

    fn included(&mut self, item: &Value, around: &Around<'_>) -> Result<Value, ComposeError> {
        let place = item.place(&self.read);
        let names = self.paths(item.at(&["path"]).unwrap_or(item), around)?;
        let first = names.first().cloned().unwrap_or_default();
        if let Some(at) = around.chain.iter().position(|known| names.contains(known)) {
            let chain = around.chain[at..].iter().cloned().chain([first]).collect();
            return Err(Problem::Cycle { what: "files that include one another", chain }.at(place));
        }
        if around.chain.len() >= self.limits.chain {
            let limit = self.limits.chain as u64;
            return Err(Problem::Limit { what: "files that include one another", limit }.at(place));
        }
        let directory = match item.at(&["project_directory"]) {
            Some(directory) => paths::join(around.directory, &self.fill(directory, around.variables)?),
            None => paths::directory(&first).to_owned(),
        };
        let own = self.own_variables(item, &directory, around)?;
        let mut all = own.clone();
        all.extend(around.variables.clone());
        let chain = [around.chain, &names].concat();
        let inner = Around { directory: &directory, variables: &all, chain: &chain };
        let mut model = self.project(&names, &inner)?;
        // The device does not read the included project's variables: they are filled in now.
        let known = |name: &str| if around.variables.contains_key(name) { None } else { own.get(name).cloned() };
        if !own.is_empty() {
            self.fill_known(&mut model, &known)?;
        }
        if let Some(relative) = relative(&directory, around.directory) {
            paths::rebase(&mut model, &relative);
        }
        Ok(model)
    }

    /// One path or a list of them.
    fn paths(&self, value: &Value, around: &Around<'_>) -> Result<Vec<String>, ComposeError> {
        let items = value.as_list().unwrap_or(std::slice::from_ref(value)).iter();
        let path = |item: &Value| {
            let path = self.fill(item, around.variables)?;
            if path.contains("://") || path.starts_with("oci:") || path.starts_with("git@") {
                let text = format!("`{}` is not a file: only files can be included", crate::error::shown(&path));
                return Err(Problem::Unsupported(text).at(item.place(&self.read)));
            }
            Ok(paths::join(around.directory, &path))
        };
        items.map(path).collect()
    }

    /// What the included project's own files of variables say.
    fn own_variables(&self, item: &Value, directory: &str, around: &Around<'_>) -> Result<Variables, ComposeError> {
        let named = item.at(&["env_file"]).map(|value| self.paths(value, around)).transpose()?;
        // The project's own .env is known already.
        let standard = paths::join(directory, ".env");
        let names = named.clone().unwrap_or_else(|| vec![standard]);
        let mut own = Variables::new();
        for name in names {
            match self.variables(&name, around.variables)? {
                Some(variables) => own.extend(variables),
                None if named.is_some() => return Err(Problem::NoFile.at(Place::file(&name))),
                None => {}
            }
        }
        Ok(own)
    }

    fn fill_known(&self, value: &mut Value, known: &dyn Fn(&str) -> Option<String>) -> Result<(), ComposeError> {
        let place = value.place(&self.read);
        match &mut value.shape {
            Shape::Map(map) => map.entries.iter_mut().try_for_each(|entry| self.fill_known(&mut entry.value, known)),
            Shape::List(list) => list.iter_mut().try_for_each(|item| self.fill_known(item, known)),
            Shape::Scalar { text, .. } if text.contains('$') => {
                let template = Template::parse(text).map_err(|reason| bad_template(text, reason).at(place))?;
                *text = template.fill_known(known);
                Ok(())
            }
            Shape::Scalar { .. } => Ok(()),
        }
    }

    /// Adds the sections of an included project. What is there already must be the same.
    fn import(&mut self, file: &mut Value, included: Value, item: &Value) -> Result<(), ComposeError> {
        let Shape::Map(included) = included.shape else { return Ok(()) };
        for section in included.entries {
            let known = ["services", "networks", "volumes", "secrets", "configs", "models"];
            let (Some(file), true) = (file.as_map_mut(), known.contains(&section.key.as_str())) else { continue };
            let Some(present) = file.get_mut(&section.key).and_then(Value::as_map_mut) else {
                file.set(&section.key, section.value);
                continue;
            };
            let Shape::Map(entries) = section.value.shape else { continue };
            for entry in entries.entries {
                match present.get(&entry.key) {
                    Some(value) if value.same(&entry.value) => {}
                    Some(_) => {
                        let what = section.key.trim_end_matches('s').to_owned();
                        return Err(Problem::Conflict { what, name: entry.key }.at(item.place(&self.read)));
                    }
                    None => present.entries.push(entry),
                }
            }
        }
        self.spend(file)
    }
}

/// `from` seen from `to`, if they differ. Directories beside each other are reached over `..`.
fn relative(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let split = |path: &str| path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    if from.starts_with('/') {
        return Some(from.to_owned());
    }
    let (from, to) = (split(from), split(to));
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other && *one != "..").count();
    let up = std::iter::repeat_n("..".to_owned(), to.len() - common);
    let parts: Vec<String> = up.chain(from[common..].iter().cloned()).collect();
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

fn size(value: &Value) -> usize {
    1 + match &value.shape {
        Shape::Map(map) => map.entries.iter().map(|entry| size(&entry.value)).sum(),
        Shape::List(list) => list.iter().map(size).sum(),
        Shape::Scalar { .. } => 0,
    }
}

/// Fills in a text; every variable must have a value.
pub(crate) fn fill(text: &str, variables: &Variables) -> Result<String, Problem> {
    let template = Template::parse(text).map_err(|reason| bad_template(text, reason))?;
    let filled = template.fill(&|name| variables.get(name).cloned(), Missing::Refuse);
    filled.map_err(|Unset { name, message }| Problem::NoValue { name, message })
}

pub(crate) fn bad_template(text: &str, reason: &'static str) -> Problem {
    Problem::Template { text: crate::error::shown(text), reason }
}
