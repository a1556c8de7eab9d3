//! Many rows in one statement, however many there are: statements are made for some numbers of rows, and what is left over is filled with
//! rows of nothing, which the statement leaves out (`WHERE id IS NOT NULL`, or since no row is equal to them). That costs less than a
//! second visit to the connection's thread. Each number is one more statement that is kept prepared, and statements that go together are kept
//! as one, as often as other numbers go together: so there are few numbers.

use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::failure;
use crate::store::StoreError;

/// Rows of one statement.
const SIZES: [usize; 7] = [1, 4, 16, 32, 64, 128, 192];
/// The most.
const MOST: usize = 256;

/// Values of a row, to be bound.
pub(super) type Values<'q, 'b> = Separated<'q, Sqlite, &'b str>;

/// Statements that write all items, one for each piece of them: pieces of one size are one statement that is kept prepared.
pub(super) fn statements<T>(
    items: &[T],
    write: fn(&mut QueryBuilder<Sqlite>, &[T]),
) -> impl Iterator<Item = QueryBuilder<Sqlite>> {
    pieces(items).map(move |some| {
        let mut sql = QueryBuilder::default();
        write(&mut sql, some);
        sql
    })
}

/// All items, in pieces of one statement each.
pub(super) fn pieces<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    items.chunks(MOST)
}

/// Adds `VALUES` and these rows, of so many columns, and rows of nothing.
pub(super) fn push<T>(
    sql: &mut QueryBuilder<Sqlite>,
    columns: usize,
    items: &[T],
    mut push: impl FnMut(&mut Values<'_, '_>, &T),
) {
    let (nothing, before) = (size_for(items.len()) - items.len(), sql.sql().as_str().len());
    let rows = items.iter().map(Some).chain(std::iter::repeat_n(None, nothing));
    sql.push_values(rows, |mut values, item| match item {
        Some(item) => push(&mut values, item),
        None => (0..columns).for_each(|_| {
            values.push_bind(None::<i64>);
        }),
    });
    debug_assert_eq!(
        sql.sql().as_str()[before..].matches('?').count(),
        columns * (items.len() + nothing),
        "columns of a row"
    );
}

/// Runs statements that are kept prepared. How many rows they wrote.
pub(super) async fn run(connection: &mut SqliteConnection, mut sql: QueryBuilder<Sqlite>) -> Result<u64, StoreError> {
    let done = sql.build().persistent(true).execute(connection).await.map_err(failure)?;
    Ok(done.rows_affected())
}

fn size_for(items: usize) -> usize {
    SIZES.into_iter().find(|size| *size >= items).unwrap_or(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_a_piece_that_a_statement_has_room_for() {
        for length in [0, 1, 5, 63, 64, 65, 150, 193, 255, 256, 257, 1024] {
            let items: Vec<usize> = (0..length).collect();
            let pieces: Vec<_> = pieces(&items).collect();
            assert!(pieces.iter().all(|piece| (piece.len()..=piece.len() * 4).contains(&size_for(piece.len()))));
            assert_eq!(pieces.concat(), items);
        }
    }
}
