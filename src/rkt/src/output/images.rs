//! The table of `rkt image list`.

use super::pods::Look;
use super::table::Table;
use super::when;
use stage0::images::ImageInfo;

/// One column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Id,
    Name,
    Size,
    ImportTime,
    LastUsed,
}

impl Field {
    pub const ALL: [(&'static str, Field); 5] = [
        ("id", Field::Id),
        ("name", Field::Name),
        ("size", Field::Size),
        ("importtime", Field::ImportTime),
        ("lastused", Field::LastUsed),
    ];

    fn legend(self) -> &'static str {
        match self {
            Field::Id => "ID",
            Field::Name => "NAME",
            Field::Size => "SIZE",
            Field::ImportTime => "IMPORT TIME",
            Field::LastUsed => "LAST USED",
        }
    }

    fn cell(self, image: &ImageInfo, full: bool, now_ns: i64) -> String {
        let time = |ns: i64| match full {
            true => when::full(Some(ns)),
            false => when::ago(Some(ns), now_ns),
        };
        match self {
            Field::Id if full => image.id.to_string(),
            Field::Id => image.id.brief().to_string(),
            Field::Name => image.name.clone(),
            Field::Size if full => image.size.to_string(),
            Field::Size => model::size::iec(image.size),
            Field::ImportTime => time(image.import_time_ns),
            Field::LastUsed => time(image.last_used_ns),
        }
    }
}

/// The columns in the order asked for.
pub fn table(images: &[ImageInfo], fields: &[Field], look: Look, now_ns: i64) -> String {
    let mut table = Table::new();
    if look.legend {
        table.row(fields.iter().map(|field| field.legend()));
    }
    for image in images {
        table.row(
            fields
                .iter()
                .map(|field| field.cell(image, look.full, now_ns)),
        );
    }
    table.render()
}
