package tensor

import "github.com/pavise/pavise"

// V1 is the first protocol of KServe, and TFServing that of TensorFlow Serving, which
// it came from: POST v1/models/{model}:predict. The names and datatypes of tensors
// are not in the text but in the model's signature.
//
// A request is {"instances": […]}, a list of rows, or {"inputs": …}, each tensor as a
// whole; the answer is {"predictions": […]} or {"outputs": …}, as was asked. Callers
// of either protocol may use both forms. A server that speaks V1 is asked by rows; one
// that speaks TFServing, as the caller asked.
var (
	V1        Protocol = v1{}
	TFServing Protocol = v1{columns: true}
)

type v1 struct{ columns bool }

var (
	v1Keys       = []string{"instances", "inputs", "signature_name"}
	v1AnswerKeys = []string{"predictions", "outputs"}
)

// signatureName is the only signature of a model that a route has.
const signatureName = "serving_default"

func (v1) ParseRequest(m Message, sig Signature, lim Limits) (*Request, error) {
	r := new(Request)
	err := read(m, lim, pavise.Invalid, func(s *scanner) *fault {
		f := s.object(v1Keys, 0, func(key string) (f *fault) {
			switch {
			case key == "signature_name":
				return s.only(signatureName)
			case r.Inputs != nil:
				return s.fault("send one of them", "both instances and inputs")
			case key == "inputs":
				r.form = byColumn
				r.Inputs, f = s.columns(sig.Inputs)
			default:
				r.Inputs, f = s.rows("instances", sig.Inputs)
			}
			return f
		})
		if f == nil && r.Inputs == nil {
			f = s.fault(`send {"instances": [a row, another …]}`, `neither "instances" nor "inputs"`)
		}
		return f
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// only reads the one string that is taken there.
func (s *scanner) only(want string) *fault {
	s.peek()
	start := s.pos
	got, f := s.label()
	if f == nil && got != want {
		s.pos = start
		f = s.fault("leave it out", "%.40q is none of this model's; it has %s", got, want)
	}
	return f
}

func (p v1) AppendRequest(dst []byte, r *Request) (Message, error) {
	list, err := spools(r.Inputs, pavise.Invalid)
	if err != nil {
		return Message{}, err
	}
	if p.columns && r.form == byColumn {
		dst = appendColumns(append(dst, `{"inputs":`...), list)
	} else {
		dst = appendRows(append(dst, `{"instances":`...), list)
	}
	return Message{append(dst, '}'), NoHeader}, nil
}

func (p v1) ParseResponse(m Message, r *Request, sig Signature, lim Limits) (*Response, error) {
	a := new(Response)
	err := read(m, lim, pavise.Unavailable, func(s *scanner) *fault {
		f := s.object(v1AnswerKeys, 0, func(key string) (f *fault) {
			switch want := p.columns && r.form == byColumn; {
			case want != (key == "outputs"):
				return s.fault("", "an answer to another form of question")
			case want:
				a.Outputs, f = s.columns(sig.Outputs)
			default:
				a.Outputs, f = s.rows("predictions", sig.Outputs)
			}
			return f
		})
		if f == nil && a.Outputs == nil {
			f = s.fault("", "no answer in it")
		}
		return f
	})
	if err != nil {
		return nil, err
	}
	a.Outputs = asked(r, a.Outputs)
	return a, nil
}

func (v1) AppendResponse(dst []byte, r *Request, a *Response) (Message, error) {
	list, err := spools(a.Outputs, pavise.Unavailable)
	if err != nil {
		return Message{}, err
	}
	if r.form == byColumn {
		dst = appendColumns(append(dst, `{"outputs":`...), list)
	} else {
		dst = appendRows(append(dst, `{"predictions":`...), list)
	}
	return Message{append(dst, '}'), NoHeader}, nil
}

// String is the name that requests are counted by.
func (p v1) String() string {
	if p.columns {
		return NameTFServing
	}
	return NameV1
}
