package tensor

import "github.com/pavise/pavise"

// TorchServe is POST predictions/{model} with a JSON body. What a body means is up to
// the server's handler, so this is a form of our own choosing, the one that the
// envelopes json and kserve of TorchServe unpack: {"instances": […]}, a list of rows,
// which is answered by {"predictions": […]}.
//
// A caller may also send the list alone, or {"data": […]}, as plain handlers take it,
// and is then answered by a list alone. A server may answer in either form.
var TorchServe Protocol = torchServe{}

type torchServe struct{}

var (
	torchKeys       = []string{"instances", "data"}
	torchAnswerKeys = []string{"predictions"}
)

func (torchServe) ParseRequest(m Message, sig Signature, lim Limits) (*Request, error) {
	r := new(Request)
	err := read(m, lim, pavise.Invalid, func(s *scanner) (f *fault) {
		if s.peek() == '[' {
			r.form = bare
			r.Inputs, f = s.rows("rows", sig.Inputs)
			return f
		}
		f = s.object(torchKeys, 0, func(key string) (f *fault) {
			switch {
			case r.Inputs != nil:
				return s.fault("send one of them", "both instances and data")
			case key == "data":
				r.form = bare
			}
			r.Inputs, f = s.rows("rows", sig.Inputs)
			return f
		})
		if f == nil && r.Inputs == nil {
			f = s.fault(`send {"instances": [a row, another …]}`, `neither "instances" nor "data"`)
		}
		return f
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (torchServe) AppendRequest(dst []byte, r *Request) (Message, error) {
	return V1.AppendRequest(dst, r)
}

func (torchServe) ParseResponse(m Message, r *Request, sig Signature, lim Limits) (*Response, error) {
	a := new(Response)
	err := read(m, lim, pavise.Unavailable, func(s *scanner) (f *fault) {
		if s.peek() == '[' {
			a.Outputs, f = s.rows("predictions", sig.Outputs)
			return f
		}
		return s.object(torchAnswerKeys, 1, func(string) (f *fault) {
			a.Outputs, f = s.rows("predictions", sig.Outputs)
			return f
		})
	})
	if err != nil {
		return nil, err
	}
	a.Outputs = asked(r, a.Outputs)
	return a, nil
}

func (torchServe) AppendResponse(dst []byte, r *Request, a *Response) (Message, error) {
	list, err := spools(a.Outputs, pavise.Unavailable)
	if err != nil {
		return Message{}, err
	}
	if r.form == bare {
		return Message{appendRows(dst, list), NoHeader}, nil
	}
	return Message{append(appendRows(append(dst, `{"predictions":`...), list), '}'), NoHeader}, nil
}

// String is the name that requests are counted by.
func (torchServe) String() string { return NameTorchServe }
