// Package prompt looks at what language models are asked and at what they answer: for
// text that would turn a model against its owner, and for secrets that leave with an
// answer.
//
// [Look] reads one text of a request once, from front to back, in a form that is made
// for looking alone: what is sent is never changed. The reader (read.go, fold.go)
// decomposes compatibility forms, takes marks, case and look-alike letters away, counts
// what nobody can see (hidden.go), and cuts the text into words. The matcher (match.go)
// knows few thousand words (words.go) and the order in which rules want them (rules.go);
// it costs a table look-up for each word, whatever the text. Marks that chat templates
// use are looked for beside it (template.go), and what is written in base64, hexadecimal
// digits or escapes is read and looked at as well (encoded.go).
//
// [Policy] says what follows: nothing, a line in the record, an alert there, or refusal.
//
// A [Scanner] reads an answer as it comes, for secrets (secret.go), canaries (canary.go)
// and the request's own system message (leak.go), and says how much of the answer is
// clear of them: the rest waits for what follows.
//
// The package is pure, and owns no state beyond its tables. Everything takes time in
// proportion to the text and memory that does not grow with it. Rules are no wall: who
// says the same in words that no rule has passes.
package prompt
