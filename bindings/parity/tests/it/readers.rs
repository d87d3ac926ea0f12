//! The readers see what changes.

use std::path::Path;

use meshwire_parity::{Language, read};

fn put(room: &Path, path: &str, text: &str) {
    let path = room.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read_rust(lib: &str, more: &[(&str, &str)]) -> Vec<String> {
    let room = tempfile::tempdir().unwrap();
    put(room.path(), "core-client/src/lib.rs", lib);
    put(room.path(), "proto/src/lib.rs", "mod event;\npub use event::Event;\n");
    put(
        room.path(),
        "proto/src/event.rs",
        "/// One.\n#[derive(Clone)]\npub struct Event { id: u8 }\nimpl Event { /// It.\npub const fn id(&self) -> u8 { self.id } }",
    );
    for (path, text) in more {
        put(room.path(), path, text);
    }
    let api = read(room.path(), Language::Rust).unwrap().unwrap().to_string();
    api.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn of_rust_everything_that_can_be_named_is_read_and_nothing_else() {
    let client = "use super::Later;\n#[derive(Debug)]\n#[non_exhaustive]\npub struct Mesh { pub name: String, secret: u8 }\n\
        impl Mesh {\n  pub async fn publish<T>(&self, topic: &str, event: impl Into<T>) -> Result<(), T> where T: Send { todo() }\n\
        \x20 pub(crate) fn inner(&self) {}\n  #[doc(hidden)]\n  pub fn hidden(&self) {}\n}\n\
        pub(crate) trait Secret {}\nimpl Secret for Mesh {}\nimpl Later for Mesh { type Output = u8; }\npub fn unseen() {}\n\
        #[cfg(test)]\nmod tests { pub fn of_test() {} }\n";
    let lib = "mod client;\nmod later;\npub use client::Mesh as Client;\npub use later::*;\npub use meshwire_proto::Event;\n#[doc(hidden)]\npub mod deep;\npub use bytes::Bytes;\n";
    let later =
        "pub trait Later { type Output; }\n#[cfg(feature = \"tls\")]\npub enum Way { Tcp, Tls { port: u16 } }\n";
    let said = read_rust(
        lib,
        &[
            ("core-client/src/client.rs", client),
            ("core-client/src/later/mod.rs", later),
            ("core-client/src/deep.rs", "pub fn deep() {}"),
        ],
    );
    let wanted = [
        "<Client as Debug> | impl Debug for Client",
        "<Client as Later> | impl Later for Mesh",
        "<Client as Later>::Output | type Output = u8",
        "<Event as Clone> | impl Clone for Event",
        "Bytes | use bytes::Bytes",
        "Client | #[non_exhaustive] struct Mesh",
        "Client.name | String",
        "Client::publish | async fn publish<T>(&self, topic: &str, event: impl Into<T>) -> Result<(), T> where T: Send,",
        "Event | struct Event",
        "Event::id | const fn id(&self) -> u8",
        "Later | trait Later",
        "Way | #[cfg(feature = \"tls\")] enum Way",
        "Way::Tcp | Tcp",
        "Way::Tls | Tls { port: u16 }",
    ];
    assert_eq!(said, wanted);
}

#[test]
fn of_python_a_keyword_that_is_new_is_read() {
    let room = tempfile::tempdir().unwrap();
    let folder = "bindings/python/python/meshwire";
    put(
        room.path(),
        &format!("{folder}/__init__.py"),
        "from ._mesh import Mesh\nfrom .errors import *\n__all__ = ['Mesh']\n__all__ += []\n",
    );
    put(room.path(), &format!("{folder}/sync/__init__.py"), "__all__ = []\n");
    put(room.path(), &format!("{folder}/testing.py"), "");
    put(room.path(), &format!("{folder}/errors.py"), "__all__ = ['AError']\nclass AError(Exception): ...\n");
    let mesh = "class More(TypedDict):\n    key: str | None\nclass _Base:\n    def close(self) -> None: ...\nclass Mesh(_Base):\n    _hidden: int\n    async def publish(self, topic: str, /, *, wait: bool = True, **said: Unpack[More]) -> int: ...\n";
    put(room.path(), &format!("{folder}/_mesh.py"), mesh);
    let Some(api) = read(room.path(), Language::Python).unwrap() else {
        return println!("skipped: needs python3");
    };
    let said: Vec<String> = api.to_string().lines().skip(1).map(str::to_owned).collect();
    let wanted = [
        "AError | class AError(Exception)",
        "Mesh | class Mesh(_Base)",
        "Mesh.close | def close(self) -> None",
        "Mesh.publish | async def publish(self, topic: str, /, *, wait: bool=True, **said: Unpack[More]) -> int",
        "Mesh.publish(key) | key: str | None",
        "Mesh.publish(wait) | wait: bool",
    ];
    assert_eq!(said, wanted);
}

#[test]
fn of_go_fields_methods_and_constants_are_read() {
    let room = tempfile::tempdir().unwrap();
    let source = "// Package meshwire is it.\npackage meshwire\n\n// All of them.\nconst (\n\tOne = \"1\" // one\n\tTwo = \"2\"\n)\n\n// Message came.\ntype Message struct {\n\tID, Source string\n\t// On has commas, and more.\n\tOn func(a int, b *string) error\n\thidden int\n}\n\n\
        // Delivery is held.\ntype Delivery struct {\n\tMessage\n\tLag uint64 `json:\"lag\"`\n}\n\n// Ack acks.\nfunc (d *Delivery) Ack(\n\twhy string,\n) error {\n\treturn nil\n}\n\n// Settler settles.\ntype Settler interface {\n\tAck(why string) error\n}\n\nfunc unseen() {}\n";
    put(room.path(), "bindings/go/go.mod", "module example.com/meshwire\n\ngo 1.24\n");
    put(room.path(), "bindings/go/all.go", source);
    put(
        room.path(),
        "bindings/go/meshwiretest/all.go",
        "// Package meshwiretest is for tests.\npackage meshwiretest\n\n// Start starts.\nfunc Start() {}\n",
    );
    let Some(api) = read(room.path(), Language::Go).unwrap() else {
        return println!("skipped: needs go");
    };
    let said: Vec<String> = api.to_string().lines().skip(1).map(str::to_owned).collect();
    let wanted = [
        "Delivery | type Delivery struct",
        "Delivery.(Message) | Message",
        "Delivery.Ack | func (d *Delivery) Ack(why string) error",
        "Delivery.Lag | Lag uint64",
        "Message | type Message struct",
        "Message.ID | ID string",
        "Message.On | On func(a int, b *string) error",
        "Message.Source | Source string",
        "One | const One = \"1\"",
        "Settler | type Settler interface",
        "Settler.Ack | Ack(why string) error",
        "Two | const Two = \"2\"",
        "meshwiretest.Start | func Start()",
    ];
    assert_eq!(said, wanted);
}
