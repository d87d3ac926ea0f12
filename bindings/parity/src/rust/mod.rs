//! Rust: what the crate `meshwire` exports, followed through its `pub use`. What macros of its own make is not seen.

mod crates;
mod print;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::{Fields, ImplItem, Item, ItemImpl, TraitItem, Type, Visibility};

use crate::api::Api;
use crates::{Crates, Definition, Meaning, Room, attributes, bindings, is_hidden, named};

const CRATE: &str = "meshwire";

/// Reads what the crate exports.
pub(crate) fn read(root: &Path) -> anyhow::Result<Api> {
    let mut crates = Crates::default();
    crates.load(CRATE, &root.join("core-client/src/lib.rs"))?;
    crates.load("meshwire_proto", &root.join("proto/src/lib.rs"))?;
    let mut surface = Surface { crates: &crates, found: BTreeMap::new(), api: Api::default() };
    surface.module(&Room { krate: CRATE, path: Vec::new() }, "");
    surface.describe();
    Ok(surface.api)
}

struct Surface<'a> {
    crates: &'a Crates,
    /// What can be named, and by which path: the shortest, where there are several.
    found: BTreeMap<Definition, String>,
    api: Api,
}

fn is_public(seen: &Visibility) -> bool {
    matches!(seen, Visibility::Public(_))
}

impl Surface<'_> {
    /// Everything that a module shows, under a prefix.
    fn module(&mut self, room: &Room, prefix: &str) {
        let crates = self.crates;
        for item in crates.rooms.get(room).into_iter().flatten().filter(|item| !is_hidden(attributes(item))) {
            match item {
                Item::Use(used) if is_public(&used.vis) => {
                    for (bound, path) in bindings(&used.tree) {
                        self.reexport(room, prefix, &bound, &path);
                    }
                }
                Item::Mod(module) if is_public(&module.vis) => {
                    let name = module.ident.to_string();
                    self.module(&room.inside(&name), &format!("{prefix}{name}::"));
                }
                item => {
                    if let Some((name, true)) = named(item) {
                        self.name(Definition { room: room.clone(), name: name.clone() }, format!("{prefix}{name}"));
                    }
                }
            }
        }
    }

    fn reexport(&mut self, room: &Room, prefix: &str, bound: &str, path: &[String]) {
        match self.crates.resolve(room, path) {
            Meaning::Module(other) if bound == "*" => self.module(&other, prefix),
            Meaning::Module(other) => self.module(&other, &format!("{prefix}{bound}::")),
            Meaning::Item(definition) => self.name(definition, format!("{prefix}{bound}")),
            Meaning::Foreign => self.api.add(format!("{prefix}{bound}"), format!("use {}", path.join("::"))),
        }
    }

    fn name(&mut self, definition: Definition, path: String) {
        let known = self.found.entry(definition).or_insert_with(|| path.clone());
        if (path.matches("::").count(), &path) < (known.matches("::").count(), known) {
            *known = path;
        }
    }

    fn describe(&mut self) {
        let crates = self.crates;
        for (definition, path) in self.found.clone() {
            for item in crates.rooms.get(&definition.room).into_iter().flatten() {
                if named(item).is_some_and(|(name, _)| name == definition.name) {
                    self.item(&path, item);
                }
            }
        }
        for (room, items) in &crates.rooms {
            for item in items {
                if let Item::Impl(item) = item {
                    self.implementation(room, item);
                }
            }
        }
    }

    fn item(&mut self, path: &str, item: &Item) {
        match item {
            Item::Struct(item) => {
                self.api.add(path, print::structure(item));
                self.derived(path, &print::derived(&item.attrs), &print::parameters(&item.generics));
                self.fields(path, &item.fields);
            }
            Item::Enum(item) => {
                self.api.add(path, print::enumeration(item));
                self.derived(path, &print::derived(&item.attrs), &print::parameters(&item.generics));
                for variant in item.variants.iter().filter(|one| !is_hidden(&one.attrs)) {
                    self.api.add(format!("{path}::{}", variant.ident), print::variant(variant));
                }
            }
            Item::Trait(item) => {
                self.api.add(path, print::contract(item));
                for inner in &item.items {
                    if let TraitItem::Fn(method) = inner {
                        let name = format!("{path}::{}", method.sig.ident);
                        self.api.add(name, print::function(&method.attrs, &method.sig));
                    }
                }
            }
            Item::Fn(item) => self.api.add(path, print::function(&item.attrs, &item.sig)),
            Item::Const(item) => self.api.add(path, format!("const {}: {}", item.ident, print::of_type(&item.ty))),
            Item::Static(item) => self.api.add(path, format!("static {}: {}", item.ident, print::of_type(&item.ty))),
            Item::Type(item) => self.api.add(path, print::alias(item)),
            _ => {}
        }
    }

    fn derived(&mut self, path: &str, traits: &BTreeSet<String>, parameters: &str) {
        for name in traits {
            self.api.add(format!("<{path} as {name}>"), format!("impl {name} for {path}{parameters}"));
        }
    }

    fn fields(&mut self, path: &str, fields: &Fields) {
        for (n, field) in fields.iter().enumerate().filter(|(_, field)| is_public(&field.vis)) {
            let name = field.ident.as_ref().map_or_else(|| n.to_string(), ToString::to_string);
            if !is_hidden(&field.attrs) {
                self.api.add(format!("{path}.{name}"), print::of_type(&field.ty));
            }
        }
    }

    fn implementation(&mut self, room: &Room, item: &ItemImpl) {
        let Some(path) = self.path_of(room, &item.self_ty) else { return };
        if is_hidden(&item.attrs) {
            return;
        }
        let Some((_, of, _)) = &item.trait_ else {
            for inner in &item.items {
                match inner {
                    ImplItem::Fn(method) if is_public(&method.vis) && !is_hidden(&method.attrs) => {
                        let name = format!("{path}::{}", method.sig.ident);
                        self.api.add(name, print::function(&method.attrs, &method.sig));
                    }
                    ImplItem::Const(one) if is_public(&one.vis) && !is_hidden(&one.attrs) => {
                        let signature = format!("const {}: {}", one.ident, print::of_type(&one.ty));
                        self.api.add(format!("{path}::{}", one.ident), signature);
                    }
                    _ => {}
                }
            }
            return;
        };
        let segments: Vec<String> = of.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Meaning::Item(definition) = self.crates.resolve(room, &segments)
            && !self.found.contains_key(&definition)
        {
            // A trait that nobody outside can name.
            return;
        }
        let name = format!("<{path} as {}>", print::of_trait(of));
        self.api.add(name.clone(), print::header(item));
        for inner in &item.items {
            if let ImplItem::Type(one) = inner {
                self.api
                    .add(format!("{name}::{}", one.ident), format!("type {} = {}", one.ident, print::of_type(&one.ty)));
            }
        }
    }

    /// The path of a type that can be named.
    fn path_of(&self, room: &Room, ty: &Type) -> Option<String> {
        let Type::Path(ty) = ty else { return None };
        let segments: Vec<String> = ty.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let Meaning::Item(definition) = self.crates.resolve(room, &segments) else { return None };
        self.found.get(&definition).cloned()
    }
}
