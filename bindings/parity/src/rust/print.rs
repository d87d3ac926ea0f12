//! Signatures as text.

use std::collections::BTreeSet;

use syn::punctuated::Punctuated;
use syn::{
    Attribute, File, Generics, Item, ItemEnum, ItemFn, ItemImpl, ItemStruct, ItemTrait, ItemType, Signature, Token,
    Type, Variant, parse_quote,
};

use crate::api::in_one_line;

fn print(item: Item) -> String {
    in_one_line(&prettyplease::unparse(&File { shebang: None, attrs: Vec::new(), items: vec![item] }))
}

/// What of its attributes a caller notices.
fn noticed(attributes: &[Attribute]) -> Vec<Attribute> {
    let of_caller =
        |one: &&Attribute| ["cfg", "deprecated", "non_exhaustive"].iter().any(|name| one.path().is_ident(name));
    attributes.iter().filter(of_caller).cloned().collect()
}

pub(super) fn function(attributes: &[Attribute], signature: &Signature) -> String {
    let item = ItemFn {
        attrs: noticed(attributes),
        vis: syn::Visibility::Inherited,
        sig: signature.clone(),
        block: parse_quote!({}),
    };
    print(Item::Fn(item)).trim_end_matches("{}").trim_end().to_owned()
}

pub(super) fn structure(item: &ItemStruct) -> String {
    let mut bare: ItemStruct = parse_quote!(
        struct X;
    );
    (bare.attrs, bare.ident, bare.generics) = (noticed(&item.attrs), item.ident.clone(), item.generics.clone());
    print(Item::Struct(bare)).trim_end_matches(';').to_owned()
}

pub(super) fn enumeration(item: &ItemEnum) -> String {
    let mut bare = item.clone();
    (bare.attrs, bare.vis, bare.variants) = (noticed(&item.attrs), syn::Visibility::Inherited, Punctuated::new());
    print(Item::Enum(bare)).trim_end_matches("{}").trim_end().to_owned()
}

pub(super) fn variant(item: &Variant) -> String {
    let mut only = item.clone();
    (only.attrs, only.discriminant) = (noticed(&item.attrs), None);
    for field in &mut only.fields {
        field.attrs.clear();
    }
    let whole = print(parse_quote!(enum X { #only }));
    let inner = whole.split_once('{').map_or("", |(_, rest)| rest).trim_end_matches('}').trim();
    inner.trim_end_matches(',').to_owned()
}

pub(super) fn of_type(ty: &Type) -> String {
    let item: ItemType = parse_quote!(type X = #ty;);
    print(Item::Type(item)).trim_start_matches("type X = ").trim_end_matches(';').to_owned()
}

pub(super) fn alias(item: &ItemType) -> String {
    let mut bare = item.clone();
    (bare.attrs, bare.vis) = (noticed(&item.attrs), syn::Visibility::Inherited);
    print(Item::Type(bare)).trim_end_matches(';').to_owned()
}

pub(super) fn header(item: &ItemImpl) -> String {
    let mut bare = item.clone();
    (bare.attrs, bare.items) = (noticed(&item.attrs), Vec::new());
    print(Item::Impl(bare)).trim_end_matches("{}").trim_end().to_owned()
}

pub(super) fn contract(item: &ItemTrait) -> String {
    let mut bare = item.clone();
    (bare.attrs, bare.items, bare.vis) = (noticed(&item.attrs), Vec::new(), syn::Visibility::Inherited);
    print(Item::Trait(bare)).trim_end_matches("{}").trim_end().to_owned()
}

/// The trait of an impl, without those for references and the like.
pub(super) fn of_trait(path: &syn::Path) -> String {
    of_type(&Type::Path(syn::TypePath { qself: None, path: path.clone() }))
}

/// Names of the traits that are derived.
pub(super) fn derived(attributes: &[Attribute]) -> BTreeSet<String> {
    let lists = attributes.iter().filter(|one| one.path().is_ident("derive"));
    let parse = |one: &Attribute| one.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated).ok();
    let last = |path: syn::Path| path.segments.last().map(|segment| segment.ident.to_string());
    lists.filter_map(parse).flatten().filter_map(last).collect()
}

/// Names of its parameters, for a derived impl.
pub(super) fn parameters(generics: &Generics) -> String {
    if generics.params.is_empty() { String::new() } else { "<..>".to_owned() }
}
