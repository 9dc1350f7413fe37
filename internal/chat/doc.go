// Package chat is the exchange of language models, and the strict codec of the
// protocol that it is spoken in: OpenAI's chat completions, completions,
// responses and embeddings, with their streams of server-sent events.
//
// [ParseRequest] turns foreign bytes into a [Request]; the only way onward is
// its AppendJSON, which encodes from the parsed form alone. Answers come back the
// same way, whole through [ParseAnswer] or event by event through a [Stream]: a
// model server is as foreign as a caller. So no difference between two parsers
// can carry anything past a check.
//
// Reading goes in two steps. The scanner (json.go) reads one JSON text into
// values: it refuses a key that is there twice, in whatever case, broken UTF-8,
// half surrogates, numbers beyond float64, and what is too deep, too long or too
// much. Then a shape (shape.go) says what may stand where: which fields there
// are, of what type and range. The shapes are tables, one for each part of the
// protocol (request.go, response.go, event.go). What a request says under names
// that the tables do not have is kept apart by name, for a policy to decide on;
// what an answer says so is dropped.
//
// The package is pure: no clock, no disk, no network, and it owns no state. Times
// that a caller or a server may take are for those who read from them.
package chat
