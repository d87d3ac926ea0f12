//! Crates as trees of modules, and what a path in one of them means.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use syn::{Attribute, Expr, ExprLit, Item, Lit, UseTree};

/// Where something is defined: crate, module, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Definition {
    pub(super) room: Room,
    pub(super) name: String,
}

/// A module of a crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Room {
    pub(super) krate: &'static str,
    pub(super) path: Vec<String>,
}

impl Room {
    pub(super) fn inside(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        Self { krate: self.krate, path }
    }
}

/// What a path means.
pub(super) enum Meaning {
    Module(Room),
    Item(Definition),
    /// Something of another crate.
    Foreign,
}

/// How many uses may stand between a name and what it names.
const HOPS: u8 = 16;

#[derive(Default)]
pub(super) struct Crates {
    pub(super) rooms: BTreeMap<Room, Vec<Item>>,
}

impl Crates {
    /// Reads a crate from its root file.
    pub(super) fn load(&mut self, krate: &'static str, root: &Path) -> anyhow::Result<()> {
        let folder = root.parent().context("a file is in a folder")?;
        self.file(Room { krate, path: Vec::new() }, root, folder)
    }

    /// `folder` is where the files of its modules are.
    fn file(&mut self, room: Room, file: &Path, folder: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        let items = syn::parse_file(&text).with_context(|| format!("{} is not Rust", file.display()))?.items;
        self.items(room, items, folder)
    }

    fn items(&mut self, room: Room, items: Vec<Item>, folder: &Path) -> anyhow::Result<()> {
        let items: Vec<Item> = items.into_iter().filter(|item| !is_test(attributes(item))).collect();
        for item in &items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let below = folder.join(&name);
            if let Some((_, items)) = &module.content {
                self.items(room.inside(&name), items.clone(), &below)?;
                continue;
            }
            if let Some(file) = place(&module.attrs) {
                self.file(room.inside(&name), &folder.join(file), &below)?;
                continue;
            }
            let beside = folder.join(format!("{name}.rs"));
            let file = if beside.is_file() { beside } else { below.join("mod.rs") };
            self.file(room.inside(&name), &file, &below)?;
        }
        self.rooms.insert(room, items);
        Ok(())
    }

    /// What a path means in a room.
    pub(super) fn resolve(&self, room: &Room, path: &[String]) -> Meaning {
        self.resolve_within(room, path, HOPS)
    }

    fn resolve_within(&self, room: &Room, path: &[String], hops: u8) -> Meaning {
        let Some((first, rest)) = path.split_first() else { return Meaning::Module(room.clone()) };
        let start = match first.as_str() {
            "crate" => Room { krate: room.krate, path: Vec::new() },
            "self" => room.clone(),
            "super" => {
                let mut up = room.clone();
                up.path.pop();
                up
            }
            name => match self.rooms.keys().find(|known| known.path.is_empty() && known.krate == name) {
                Some(other) => other.clone(),
                None => return self.walk(room, path, hops),
            },
        };
        self.walk(&start, rest, hops)
    }

    /// Goes down from a room.
    fn walk(&self, room: &Room, path: &[String], hops: u8) -> Meaning {
        let Some((name, rest)) = path.split_first() else { return Meaning::Module(room.clone()) };
        let below = room.inside(name);
        if self.rooms.contains_key(&below) {
            return self.walk(&below, rest, hops);
        }
        let items = self.rooms.get(room).map(Vec::as_slice).unwrap_or_default();
        if rest.is_empty() && items.iter().any(|item| named(item).is_some_and(|(found, _)| found == *name)) {
            return Meaning::Item(Definition { room: room.clone(), name: name.clone() });
        }
        let Some(hops) = hops.checked_sub(1) else { return Meaning::Foreign };
        for item in items {
            let Item::Use(used) = item else { continue };
            for (bound, mut path) in bindings(&used.tree) {
                if bound == *name {
                    path.extend(rest.iter().cloned());
                    return self.resolve_within(room, &path, hops);
                }
                if bound == "*"
                    && let Meaning::Module(other) = self.resolve_within(room, &path, hops)
                    && other != *room
                    && let found @ (Meaning::Item(_) | Meaning::Module(_)) =
                        self.walk(&other, &[vec![name.clone()], rest.to_vec()].concat(), hops)
                {
                    return found;
                }
            }
        }
        Meaning::Foreign
    }
}

/// The names that a use binds, `*` for all, and the paths behind them.
pub(super) fn bindings(tree: &UseTree) -> Vec<(String, Vec<String>)> {
    match tree {
        UseTree::Path(path) => {
            let first = path.ident.to_string();
            let mut inner = bindings(&path.tree);
            for (bound, path) in &mut inner {
                if bound == "self" {
                    bound.clone_from(&first);
                    path.clear();
                }
                path.insert(0, first.clone());
            }
            inner
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), vec![name.ident.to_string()])],
        UseTree::Rename(rename) => vec![(rename.rename.to_string(), vec![rename.ident.to_string()])],
        UseTree::Glob(_) => vec![("*".to_owned(), Vec::new())],
        UseTree::Group(group) => group.items.iter().flat_map(bindings).collect(),
    }
}

/// The name of an item and whether it is public, if it defines one.
pub(super) fn named(item: &Item) -> Option<(String, bool)> {
    let (name, seen) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Mod(item) => (&item.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((name.to_string(), matches!(seen, syn::Visibility::Public(_))))
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The file that a module is said to be in.
fn place(attributes: &[Attribute]) -> Option<String> {
    let said = attributes.iter().find(|one| one.path().is_ident("path"))?.meta.require_name_value().ok()?;
    match &said.value {
        Expr::Lit(ExprLit { lit: Lit::Str(file), .. }) => Some(file.value()),
        _ => None,
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| {
        one.path().is_ident("cfg") && one.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Whether the documentation leaves it out.
pub(super) fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|one| {
        one.path().is_ident("doc") && one.parse_args::<syn::Path>().is_ok_and(|said| said.is_ident("hidden"))
    })
}
