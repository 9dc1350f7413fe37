// Package answers holds what models said to inputs, as files have it, and asks models that
// are files themselves.
//
// A file of answers is a table of package table: a row has an input and what the model
// said to it, its scores or the class alone. A [Layout] says which columns are which:
// output, output_… and p0, p_… are what was said, client and time are passed over, and the
// rest is the input; in JSONL, input and output may be lists, or lists of lists, which are
// as many rows. A [Model] is asked in place of a file.
//
// On such files stand the commands of watermarks: [Making] a key, [Marking] answers,
// [Verifying] a suspect, [Fingerprinting] a model and [Comparing] a suspect with it. They
// need no server and leave no record.
//
// It owns no state, and what it reads may be a stranger's.
package answers
