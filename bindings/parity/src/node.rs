//! Node: what the types of the package export, which are written by hand.

use std::path::Path;

use anyhow::Context;

use crate::api::Api;
use crate::source::{body, statements, without_comments};

/// The files, and what stands before the names of each.
const FILES: [(&str, &str); 3] = [("index.d.cts", ""), ("lib/codes.d.cts", ""), ("testing.d.cts", "testing.")];

/// Reads the types of the package.
pub(crate) fn read(root: &Path) -> anyhow::Result<Api> {
    let mut api = Api::default();
    for (file, prefix) in FILES {
        let path = root.join("bindings/node/package").join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        types(&mut api, &text, prefix).with_context(|| format!("in {}", path.display()))?;
    }
    Ok(api)
}

fn types(api: &mut Api, text: &str, prefix: &str) -> anyhow::Result<()> {
    let has_body = |head: &str| head.starts_with("export declare class ") || head.starts_with("export interface ");
    for statement in statements(&without_comments(text), has_body) {
        let Some(exported) = statement.strip_prefix("export ") else {
            anyhow::ensure!(statement.starts_with("import "), "{statement:?} is neither exported nor imported");
            continue;
        };
        let declared = exported.strip_prefix("declare ").unwrap_or(exported);
        let (kind, rest) = declared.split_once(' ').with_context(|| format!("{statement:?} is no declaration"))?;
        let name = format!("{prefix}{}", name_of(rest));
        match kind {
            "class" | "interface" => {
                let (head, inner) = body(declared).with_context(|| format!("{name} has no body"))?;
                api.add(&*name, head);
                for member in statements(inner, |_| false) {
                    add_member(api, &name, &member);
                }
            }
            "type" if rest.starts_with('{') => {}
            "type" => {
                let (_, meaning) = rest.split_once('=').with_context(|| format!("{name} has no meaning"))?;
                let words: Option<Vec<&str>> =
                    meaning.split('|').map(str::trim).filter(|one| !one.is_empty()).map(word).collect();
                match words {
                    Some(words) if words.len() > 1 => {
                        api.add(&*name, format!("type {name}"));
                        words.iter().for_each(|one| api.add(format!("{name}.{one}"), format!("{one:?}")));
                    }
                    _ => api.add(&*name, declared),
                }
            }
            "function" | "const" => api.add(&*name, declared),
            _ => anyhow::bail!("{statement:?}: what is a {kind}?"),
        }
    }
    Ok(())
}

fn word(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

fn name_of(declaration: &str) -> &str {
    let end = declaration.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']')));
    declaration.get(..end.unwrap_or(declaration.len())).unwrap_or_default()
}

fn add_member(api: &mut Api, of: &str, member: &str) {
    if ["private ", "protected "].iter().any(|hidden| member.starts_with(hidden)) {
        return;
    }
    let bare = ["static ", "readonly "].iter().find_map(|word| member.strip_prefix(word)).unwrap_or(member);
    let name = name_of(bare);
    api.add(format!("{of}.{name}"), member);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::types;
    use crate::api::Api;

    #[test]
    fn a_member_of_the_types_that_is_new_or_another_is_seen() {
        let read = |text: &str| {
            let mut api = Api::default();
            types(&mut api, text, "").unwrap();
            api.to_string()
        };
        let before = "import { A } from \"./a\";\n/** Of {@link A}; it is; */\nexport declare class Mesh {\n  private constructor();\n  readonly a: string;\n  // no; more\n  b(c: { d: number }): void;\n}\nexport type Word = \"one\" | \"two\";\n";
        let said: Vec<String> = read(before).lines().skip(1).map(str::to_owned).collect();
        let wanted = [
            "Mesh | class Mesh",
            "Mesh.a | readonly a: string",
            "Mesh.b | b(c: { d: number }): void",
            "Word | type Word",
            "Word.one | \"one\"",
            "Word.two | \"two\"",
        ];
        assert_eq!(said, wanted);
        assert_ne!(read(before), read(&before.replace("d: number", "d: string")));
        assert_ne!(read(before), read(&before.replace("  readonly", "  e?: string;\n  readonly")));
    }
}
