//! Typed access to a parsed document. A cursor carries its path
//! (`app.mounts[1].path`), so every error names the place.

use crate::fault::{Fault, Result};
use crate::text::quote;
use serde_json::{Map, Value};
use std::fmt::Display;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    value: &'a Value,
    path: String,
    exact: bool,
}

impl<'a> Cursor<'a> {
    /// The root of a document.
    pub fn new(value: &'a Value) -> Cursor<'a> {
        Cursor::named(value, "")
    }

    /// The root of a document whose keys match exactly, as those of registries
    /// do, unlike rkt's own.
    pub fn exact(value: &'a Value) -> Cursor<'a> {
        Cursor {
            exact: true,
            ..Cursor::new(value)
        }
    }

    /// A value whose place is known by another name.
    pub fn named(value: &'a Value, path: impl Into<String>) -> Cursor<'a> {
        Cursor {
            value,
            path: path.into(),
            exact: false,
        }
    }

    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// `app.mounts[1].path`; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// An error about this value: `<path>: <what>`.
    pub fn fault(&self, what: impl Display) -> Fault {
        placed(&self.path, what)
    }

    /// `<path>: expected <what>, found <kind>`.
    pub fn expected(&self, what: &str) -> Fault {
        self.fault(format!("expected {what}, found {}", kind_of(self.value)))
    }

    pub fn str(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub fn string(&self) -> Result<String> {
        self.str().map(str::to_string)
    }

    /// A string for the kernel's ears (argument, path, variable): no NUL.
    pub fn c_string(&self) -> Result<String> {
        let text = self.str()?;
        if text.contains('\0') {
            return Err(self.fault("must not contain a NUL character"));
        }
        Ok(text.to_string())
    }

    pub fn bool(&self) -> Result<bool> {
        self.value
            .as_bool()
            .ok_or_else(|| self.expected("true or false"))
    }

    pub fn i64(&self) -> Result<i64> {
        self.value
            .as_i64()
            .ok_or_else(|| self.no_integer("an integer"))
    }

    pub fn u64(&self) -> Result<u64> {
        self.value
            .as_u64()
            .ok_or_else(|| self.no_integer("a non-negative integer"))
    }

    pub fn u32(&self) -> Result<u32> {
        self.ranged(self.u64()?, u32::MAX)
    }

    pub fn u16(&self) -> Result<u16> {
        self.ranged(self.u64()?, u16::MAX)
    }

    fn ranged<T: TryFrom<u64> + Display>(&self, number: u64, max: T) -> Result<T> {
        T::try_from(number)
            .map_err(|_| self.fault(format!("{number} is out of range (at most {max})")))
    }

    fn no_integer(&self, what: &str) -> Fault {
        match self.value {
            Value::Number(number) => self.fault(format!("expected {what}, found {number}")),
            _ => self.expected(what),
        }
    }

    /// The elements of a list.
    pub fn list(&self) -> Result<impl Iterator<Item = Cursor<'a>> + use<'a, '_>> {
        let items = self
            .value
            .as_array()
            .ok_or_else(|| self.expected("a list"))?;
        Ok(items.iter().enumerate().map(|(index, value)| Cursor {
            value,
            path: format!("{}[{index}]", self.path),
            exact: self.exact,
        }))
    }

    /// Reads each element of a list.
    pub fn list_of<T>(&self, read: impl Fn(Cursor<'a>) -> Result<T>) -> Result<Vec<T>> {
        self.list()?.map(read).collect()
    }

    /// An object of strings, in the order written.
    pub fn string_map(&self) -> Result<Vec<(String, String)>> {
        let map = self.map()?;
        map.iter()
            .map(|(key, value)| {
                let place = Cursor {
                    value,
                    path: join(&self.path, key),
                    exact: self.exact,
                };
                Ok((key.clone(), place.string()?))
            })
            .collect()
    }

    fn map(&self) -> Result<&'a Map<String, Value>> {
        self.value
            .as_object()
            .ok_or_else(|| self.expected("an object"))
    }

    /// The object's fields, to be taken one by one.
    pub fn fields(&self) -> Result<Fields<'a>> {
        Ok(Fields {
            map: self.map()?,
            path: self.path.clone(),
            exact: self.exact,
            known: Vec::new(),
        })
    }
}

/// An object whose known fields are taken by name; what is never taken is what
/// we do not know.
#[derive(Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    path: String,
    exact: bool,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// A field, matched case-insensitively unless the document is exact; `null` counts as absent, the last
    /// of several spellings wins.
    pub fn take(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        self.take_any(key).filter(|field| !field.is_null())
    }

    /// As `take`, but an explicit `null` is told from an absent field.
    pub fn take_any(&mut self, key: &'static str) -> Option<Cursor<'a>> {
        self.known.push(key);
        self.map
            .iter()
            .rev()
            .find(|(name, _)| same(self.exact, name, key))
            .map(|(_, value)| Cursor {
                value,
                path: join(&self.path, key),
                exact: self.exact,
            })
    }

    /// A field that must be there.
    pub fn need(&mut self, key: &'static str) -> Result<Cursor<'a>> {
        self.take(key)
            .ok_or_else(|| placed(&join(&self.path, key), "is missing"))
    }

    /// A list that may be absent.
    pub fn list_of<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(Cursor<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        match self.take(key) {
            Some(list) => list.list_of(read),
            None => Ok(Vec::new()),
        }
    }

    /// A string that may be absent; then it is empty.
    pub fn text(&mut self, key: &'static str) -> Result<String> {
        self.take(key)
            .map_or(Ok(String::new()), |field| field.string())
    }

    /// A boolean that may be absent; then it is false.
    pub fn flag(&mut self, key: &'static str) -> Result<bool> {
        self.take(key).map_or(Ok(false), |field| field.bool())
    }

    /// An object of strings that may be absent.
    pub fn string_map(&mut self, key: &'static str) -> Result<Vec<(String, String)>> {
        self.take(key)
            .map_or(Ok(Vec::new()), |field| field.string_map())
    }

    /// An error about the object itself.
    pub fn fault(&self, what: impl Display) -> Fault {
        placed(&self.path, what)
    }

    /// The fields that nobody took, in the order written.
    pub fn rest(&self) -> Vec<(String, Value)> {
        self.unknown()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// Refuses fields that nobody took.
    pub fn no_rest(&self) -> Result<()> {
        match self.unknown().next() {
            Some((key, _)) => Err(self.fault(format!("unknown field {}", quote(key)))),
            None => Ok(()),
        }
    }

    fn unknown(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map
            .iter()
            .filter(|(name, _)| !self.known.iter().any(|key| same(self.exact, name, key)))
    }
}

fn same(exact: bool, name: &str, key: &str) -> bool {
    match exact {
        true => name == key,
        false => name.eq_ignore_ascii_case(key),
    }
}

fn placed(path: &str, what: impl Display) -> Fault {
    match path {
        "" => Fault::invalid(what.to_string()),
        path => Fault::invalid(format!("{path}: {what}")),
    }
}

fn join(path: &str, key: &str) -> String {
    // A key with a dot or with control characters would make the path lie.
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match (path.is_empty(), plain) {
        (true, true) => key.to_string(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", quote(key)),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_name_the_place() {
        let value =
            json!({"app": {"mounts": [{"path": "/a"}, {"path": 3}], "n": -1, "f": 1.5, "x\ty": 1}});
        let root = Cursor::new(&value);
        let app = root.fields().unwrap().need("app").unwrap();
        let paths = app
            .fields()
            .unwrap()
            .list_of("mounts", |mount| mount.fields()?.need("path")?.string());
        assert_eq!(
            paths.unwrap_err().cause,
            "app.mounts[1].path: expected a string, found a number"
        );
        let mut fields = app.fields().unwrap();
        let n = fields.need("n").unwrap();
        assert_eq!(
            n.u64().unwrap_err().cause,
            "app.n: expected a non-negative integer, found -1"
        );
        assert_eq!(n.i64().unwrap(), -1);
        let f = fields.need("f").unwrap();
        assert_eq!(
            f.i64().unwrap_err().cause,
            "app.f: expected an integer, found 1.5"
        );
        assert_eq!(fields.need("zz").unwrap_err().cause, "app.zz: is missing");
        assert_eq!(
            app.string_map().unwrap_err().cause,
            "app.mounts: expected a string, found a list"
        );
        assert_eq!(
            root.list().err().unwrap().cause,
            "expected a list, found an object"
        );
    }

    #[test]
    fn keys_match_without_case_and_the_last_wins() {
        let value =
            json!({"supplementaryGids": [1], "SUPPLEMENTARYGIDS": [2], "other": 1, "user": null});
        let mut fields = Cursor::new(&value).fields().unwrap();
        let gids = fields
            .list_of("supplementaryGIDs", |gid| gid.u32())
            .unwrap();
        assert_eq!(gids, [2]);
        assert!(fields.take("user").is_none());
        assert_eq!(fields.rest(), [("other".to_string(), json!(1))]);
        assert_eq!(
            fields.no_rest().unwrap_err().cause,
            "unknown field \"other\""
        );
    }

    #[test]
    fn an_exact_document_has_exact_keys() {
        let value = json!({"Layers": [{"Size": 1}], "layers": [{"Size": 2}]});
        let mut fields = Cursor::exact(&value).fields().unwrap();
        let sizes = fields.list_of("layers", |one| {
            let mut one = one.fields()?;
            Ok((one.take("size").is_some(), one.take("Size").is_some()))
        });
        assert_eq!(sizes.unwrap(), [(false, true)]);
        assert_eq!(fields.rest().len(), 1);
    }

    #[test]
    fn numbers_are_ranged_and_strings_free_of_nul() {
        let value = json!([70000, 4294967296u64, "a\u{0}b"]);
        let cursor = Cursor::new(&value);
        let items: Vec<_> = cursor.list().unwrap().collect();
        assert_eq!(
            items[0].u16().unwrap_err().cause,
            "[0]: 70000 is out of range (at most 65535)"
        );
        assert!(items[1].u32().is_err());
        assert_eq!(
            items[2].c_string().unwrap_err().cause,
            "[2]: must not contain a NUL character"
        );
    }

    #[test]
    fn odd_keys_cannot_forge_a_path() {
        let value = json!({"a.b\u{1b}": 1});
        let cause = Cursor::new(&value).string_map().unwrap_err().cause;
        assert_eq!(cause, "[\"a.b\\x1b\"]: expected a string, found a number");
    }
}
