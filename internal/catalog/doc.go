// Package catalog is the datasets that an installation knows: which content each is, in
// every version that it had, who said so and when; and whether what lies at its place is
// still that.
//
// A dataset comes to be in one of two ways. Somebody hands over a seal that they made where
// the data are ([Catalog.Seal]): the seal, and neither the data nor its index. Or somebody
// names a place ([Catalog.Watch]): then the house seals what lies there, keeps the seal with
// its index, and looks at it again and again ([Catalog.Run]).
//
// # A change is not the dataset
//
// What is found at the place of a dataset that has a version, and is another content, is a
// finding, and no more than that. It becomes the newest version by a change that others
// approve, bound to the root that they looked at ([Catalog.Accept]); whoever set the watch
// since the last version does not count among them. A seal that is handed over is no way
// around: of a watched dataset none is taken.
//
// # Looks
//
// A look is fast or full. A fast one believes that a file is the same whose size, times and
// inode are; a full one reads everything. Every Nth look is full, and so is any that finds a
// hint that differs. One that was cut off goes on where it stopped, by the journal of the
// seal. Looks that were due while nobody ran are one, at once.
//
// # What it owns
//
// The tables of datasets and their versions, and a directory with a seal for each version
// and each content found, with an index beside those that were made here. An index is as
// private as the rows. How places are read it does not know: that is a [Places].
package catalog
