package gateway

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/pavise/pavise/internal/record"
	"github.com/pavise/pavise/internal/tensor"
)

// A Trail is what an inference's record says beyond who, what and the verdicts:
// enough to show afterwards that this request got this answer, and nothing of
// what either said.
type Trail struct {
	ID      string `json:"id"`                // 16 random bytes, hex; binds the sealed part to this record
	Model   string `json:"model"`             // what answered: a digest, or an upstream's address
	Rows    int    `json:"rows,omitempty"`    // rows asked
	Charged int    `json:"charged,omitempty"` // rows charged to the caller, who may pay for each several times; the model's budgets pay for Rows
	Input   string `json:"input,omitempty"`   // hex SHA-256 of salt ‖ the request as it went to the model
	Output  string `json:"output,omitempty"`  // hex SHA-256 of salt ‖ the answer as it went to the caller
	Truth   string `json:"truth,omitempty"`   // the same of the model's own answer, when altered
	Marks   string `json:"marks,omitempty"`   // the same of the marks in the answer, as the sealed part lists them
	Shape   string `json:"shape,omitempty"`   // how the answer was shaped
	// Cluster is the name of those whom the caller is linked with, who share a budget.
	Cluster string `json:"cluster,omitempty"`
	// Standing is how the caller stood at the model, if not in green: amber or red.
	Standing string   `json:"standing,omitempty"`
	Altered  bool     `json:"altered,omitempty"` // the answer is not the model's own
	Unseen   bool     `json:"unseen,omitempty"`  // a proxy got leave to ask the model, and showed us no answer
	Rung     string   `json:"rung,omitempty"`    // of the route's ladder: how long after the request was read it ended
	Late     bool     `json:"late,omitempty"`    // it ended above the top of the ladder
	Parts    []uint64 `json:"parts,omitempty"`   // the records that keep, sealed, what was too long for this one
	Answer   []Output `json:"answer,omitempty"`  // the form of the answer
}

// An Output is the form of one tensor of an answer.
type Output struct {
	Name     string          `json:"name"`
	Datatype tensor.Datatype `json:"datatype"`
	Shape    []int64         `json:"shape"`
}

// A kept is the sealed part of an inference's record.
type kept struct {
	Salt  []byte          `json:"salt"`            // of the trail's commitments
	Truth json.RawMessage `json:"truth,omitempty"` // the model's own answer, when altered and not too long
	Marks json.RawMessage `json:"marks,omitempty"` // of the answer, and the controls, as package watermark has them
	// Binary is the truth that JSON cannot carry, in the Open Inference Protocol with raw
	// bytes, of which Header are its JSON.
	Binary []byte `json:"binary,omitempty"`
	Header int    `json:"header,omitempty"`
}

// AppendJSON appends what json.Marshal writes of the trail, which a test holds it to. By
// hand it is several times as fast: BenchmarkTrail has both.
func (t *Trail) AppendJSON(b []byte) []byte {
	b = record.AppendString(append(b, `{"id":`...), t.ID)
	b = record.AppendString(append(b, `,"model":`...), t.Model)
	if t.Rows != 0 {
		b = strconv.AppendInt(append(b, `,"rows":`...), int64(t.Rows), 10)
	}
	if t.Charged != 0 {
		b = strconv.AppendInt(append(b, `,"charged":`...), int64(t.Charged), 10)
	}
	for _, f := range [...]struct{ key, value string }{
		{`,"input":`, t.Input}, {`,"output":`, t.Output}, {`,"truth":`, t.Truth},
		{`,"marks":`, t.Marks}, {`,"shape":`, t.Shape}, {`,"cluster":`, t.Cluster}, {`,"standing":`, t.Standing},
	} {
		if f.value != "" {
			b = record.AppendString(append(b, f.key...), f.value)
		}
	}
	if t.Altered {
		b = append(b, `,"altered":true`...)
	}
	if t.Unseen {
		b = append(b, `,"unseen":true`...)
	}
	if t.Rung != "" {
		b = record.AppendString(append(b, `,"rung":`...), t.Rung)
	}
	if t.Late {
		b = append(b, `,"late":true`...)
	}
	for i, index := range t.Parts {
		if i == 0 {
			b = append(b, `,"parts":`...)
		}
		b = strconv.AppendUint(append(b, "[,"[min(i, 1)]), index, 10)
	}
	if len(t.Parts) > 0 {
		b = append(b, ']')
	}
	for i := range t.Answer {
		if i == 0 {
			b = append(b, `,"answer":`...)
		}
		b = t.Answer[i].appendJSON(append(b, "[,"[min(i, 1)]))
	}
	if len(t.Answer) > 0 {
		b = append(b, ']')
	}
	return append(b, '}')
}

func (o *Output) appendJSON(b []byte) []byte {
	b = record.AppendString(append(b, `{"name":`...), o.Name)
	b = record.AppendString(append(b, `,"datatype":`...), string(o.Datatype))
	b = append(b, `,"shape":`...)
	if o.Shape == nil {
		return append(b, `null}`...)
	}
	b = append(b, '[')
	for i, n := range o.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return append(b, `]}`...)
}

// appendJSON appends what json.Marshal would, but the truth byte for byte: it is what
// the trail commits to.
func (k *kept) appendJSON(b []byte) []byte {
	b = base64.StdEncoding.AppendEncode(append(b, `{"salt":"`...), k.Salt)
	b = append(b, '"')
	if len(k.Truth) > 0 {
		b = append(append(b, `,"truth":`...), k.Truth...)
	}
	if len(k.Marks) > 0 {
		b = append(append(b, `,"marks":`...), k.Marks...)
	}
	if len(k.Binary) > 0 {
		b = base64.StdEncoding.AppendEncode(append(b, `,"binary":"`...), k.Binary)
		b = strconv.AppendInt(append(b, `","header":`...), int64(k.Header), 10)
	}
	return append(b, '}')
}

// size is how many bytes appendJSON appends.
func (k *kept) size() int {
	n := len(`{"salt":""}`) + base64.StdEncoding.EncodedLen(len(k.Salt))
	if len(k.Truth) > 0 {
		n += len(`,"truth":`) + len(k.Truth)
	}
	if len(k.Marks) > 0 {
		n += len(`,"marks":`) + len(k.Marks)
	}
	if len(k.Binary) > 0 {
		n += len(`,"binary":"","header":`) + base64.StdEncoding.EncodedLen(len(k.Binary)) + len(strconv.Itoa(k.Header))
	}
	return n
}

// hexOf spells up to 32 bytes.
func hexOf(b []byte) string {
	var room [64]byte
	return string(hex.AppendEncode(room[:0], b))
}

// AppendJSON appends what json.Marshal writes of the trail: those fields that it has of
// any, and its own.
func (t *ChatTrail) AppendJSON(b []byte) []byte {
	b = t.Trail.AppendJSON(b)
	b = record.AppendString(append(b[:len(b)-1], `,"api":`...), string(t.API))
	if t.Tier != "" {
		b = record.AppendString(append(b, `,"tier":`...), string(t.Tier))
	}
	for _, f := range [...]struct {
		key   string
		value int64
	}{{`,"tokens_in":`, t.TokensIn}, {`,"tokens_out":`, t.TokensOut}, {`,"events":`, int64(t.Events)}} {
		if f.value != 0 {
			b = strconv.AppendInt(append(b, f.key...), f.value, 10)
		}
	}
	if t.Coverage != 0 { // a share of 4,096: never so small that encoding/json writes an exponent
		b = strconv.AppendFloat(append(b, `,"coverage":`...), t.Coverage, 'f', -1, 64)
	}
	return append(b, '}')
}
