//! C: the header, which is generated of the source.

use std::path::Path;

use anyhow::Context;

use crate::api::Api;
use crate::source::{body, statements, without_comments};

/// Reads the header.
pub(crate) fn read(root: &Path) -> anyhow::Result<Api> {
    let path = root.join("bindings/c/include/meshwire.h");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    header(&text).with_context(|| format!("in {}", path.display()))
}

fn header(text: &str) -> anyhow::Result<Api> {
    let mut api = Api::default();
    let mut code = String::new();
    // What goes on in the next line is one.
    let text = without_comments(text).replace("\\\n", " ");
    for line in text.lines() {
        if let Some(define) = line.trim().strip_prefix("#define ") {
            let name = define.split(['(', ' ']).next().unwrap_or_default();
            if name != "MESHWIRE_H" {
                api.add(name, line);
            }
        } else if !line.trim_start().starts_with('#') && !line.starts_with("extern \"C\"") && line != "}  " {
            code.push_str(line);
            code.push('\n');
        }
    }
    for statement in statements(&code, |head| head.starts_with("static inline ")) {
        if statement.starts_with("static_assert") {
            continue;
        }
        let unknown = || format!("{statement:?} is nothing that the header had so far");
        if let Some(rest) = statement.strip_prefix("typedef ") {
            let name = rest.rsplit([' ', '}']).next().with_context(unknown)?;
            let kind = rest.split(' ').next().with_context(unknown)?;
            api.add(name, format!("{kind} {name}"));
            if let Some((_, inner)) = body(rest) {
                members(&mut api, kind, name, inner).with_context(unknown)?;
            }
        } else {
            let signature = statement
                .strip_prefix("static inline ")
                .map_or(statement.as_str(), |inline| body(inline).map_or(inline, |(head, _)| head));
            let (before, _) = signature.split_once('(').with_context(unknown)?;
            api.add(before.rsplit([' ', '*']).next().with_context(unknown)?, signature);
        }
    }
    Ok(api)
}

fn members(api: &mut Api, kind: &str, of: &str, inner: &str) -> Option<()> {
    if kind == "enum" {
        for one in inner.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            api.add(one.split(' ').next()?, format!("{of} {one}"));
        }
        return Some(());
    }
    for member in statements(inner, |_| false) {
        // A pointer to a function has its name inside.
        let name = match member.split_once("(*") {
            Some((_, rest)) => rest.split(')').next()?,
            None => member.rsplit([' ', '*']).next()?,
        };
        api.add(format!("{of}.{name}"), &member);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::header;

    #[test]
    fn all_kinds_of_declarations_of_a_header_are_read() {
        let text = "#ifndef MESHWIRE_H\n#define MESHWIRE_H\n#define MW_ONE 1\ntypedef enum mw_kind {\n  // First, of all.\n  MW_A = 0,\n  MW_B = 1,\n} mw_kind;\n\
            typedef struct mw_client mw_client;\ntypedef struct mw_hooks {\n  size_t size;\n  void (*call)(void *ctx, int n);\n} mw_hooks;\n\
            #ifdef __cplusplus\nextern \"C\" {\n#endif\nint mw_go(struct mw_client *mesh,\n          int n);\nconst char *mw_name(void);\n\
            #ifdef __cplusplus\n}  // extern \"C\"\n#endif\nstatic inline int mw_short(int n) {\n  if (n) { return 1; }\n  return mw_go(0, n);\n}\n#endif\n";
        let said: Vec<String> = header(text).unwrap().to_string().lines().skip(1).map(str::to_owned).collect();
        let wanted = [
            "MW_A | mw_kind MW_A = 0",
            "MW_B | mw_kind MW_B = 1",
            "MW_ONE | #define MW_ONE 1",
            "mw_client | struct mw_client",
            "mw_go | int mw_go(struct mw_client *mesh, int n)",
            "mw_hooks | struct mw_hooks",
            "mw_hooks.call | void (*call)(void *ctx, int n)",
            "mw_hooks.size | size_t size",
            "mw_kind | enum mw_kind",
            "mw_name | const char *mw_name(void)",
            "mw_short | int mw_short(int n)",
        ];
        assert_eq!(said, wanted);
    }
}
