//! What became of a statement, for a person.

use super::parts::count;
use crate::query::Answer;

/// Says that the rows are not all there are, where files were left out.
pub(crate) fn lacking(answer: Answer) -> Option<String> {
    let files = count(answer.left_out, "file");
    let are = if answer.left_out == 1 { "is" } else { "are" };
    (answer.left_out > 0)
        .then(|| format!("the answer is not complete: {files} of the spool {are} left out"))
}
