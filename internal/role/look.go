package role

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/firewall"
	"github.com/pavise/pavise/internal/infer"
	"github.com/pavise/pavise/internal/route"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/upstream"
)

// maxRouteFile bounds, in bytes, a file that a route names: a model of 32 MiB, and what
// is around it.
const maxRouteFile = 48 << 20

// LookAt finds what the first start would refuse of a route, without asking its server.
func LookAt(_ string, r config.Route, wrong func(field string, err error)) {
	note := func(field string, err error) {
		if err != nil {
			wrong(field, err)
		}
	}
	note("rate", (&firewall.Terms{}).Change(r.Rate, "", "", "", ""))
	note("budget", (&firewall.Terms{}).Change("", r.Budget, "", "", ""))
	shape, err := firewall.ParseShape(cmp.Or(r.Shape, route.DefaultShape))
	if err == nil && r.Shape != "" {
		err = shape.Validate(false, r.Purpose)
	}
	note("shape", err)
	if r.ONNX != "" {
		text, err := readRouteFile(r.ONNX)
		if err == nil {
			_, err = infer.NewNative(cmp.Or(r.Name, "m"), text)
		}
		note("onnx", err)
	} else {
		note(lookAtServer(r))
	}
	note("signature", lookAtSignature(r, shape))
}

// lookAtServer returns what is wrong with how a server is asked, and the field of it.
func lookAtServer(r config.Route) (field string, err error) {
	at := infer.Place{Address: r.Upstream, Model: cmp.Or(r.Remote, "m"), Protocol: cmp.Or(r.Protocol, tensor.NameOIP), TLS: r.TLS}
	known := infer.Place{Address: r.Upstream, Model: at.Model, Protocol: tensor.NameOIP}
	if err := at.Validate(); err != nil {
		switch {
		case known.Validate() != nil:
			return "remote", err
		case r.TLS != "" && (infer.Place{Address: r.Upstream, Model: "m", Protocol: at.Protocol}).Validate() == nil:
			return "tls", err
		}
		return "protocol", err
	}
	if r.Upstream == infer.External {
		return "", nil
	}
	servers := []upstream.Endpoint{{URL: r.Upstream, Weight: 1}}
	if err := upstream.Validate(servers); err != nil {
		return "upstream", err
	}
	for _, url := range r.Replicas {
		servers = append(servers, upstream.Endpoint{URL: url, Weight: 1})
	}
	return "replicas", upstream.Validate(servers)
}

// lookAtSignature says what is wrong with the file of a signature, or with there being
// none, or one.
func lookAtSignature(r config.Route, shape firewall.Shape) error {
	silent := r.Protocol == tensor.NameV1 || r.Protocol == tensor.NameTorchServe || r.Protocol == tensor.NameMLflow
	switch {
	case r.Signature == "" && r.Upstream == infer.External && r.Protocol != tensor.NameOpenAI:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a model behind a proxy cannot be asked what it takes and gives", Hint: "name a file with " + infer.SignatureExample}
	case r.Signature == "" && silent:
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("a server that speaks %s cannot say what a model takes and gives", r.Protocol), Hint: "name a file with " + infer.SignatureExample}
	case r.Signature == "":
		return nil
	case r.Protocol == tensor.NameOpenAI:
		return &pavise.Error{Kind: pavise.Invalid, Msg: "a language model has no signature", Hint: "leave it out"}
	}
	text, err := readRouteFile(r.Signature)
	if err != nil {
		return err
	}
	signature, err := infer.ReadSignature(text)
	if err != nil {
		return err
	}
	return shape.ValidateFor(signature)
}

// readRouteFile reads a file that a route names.
func readRouteFile(path string) ([]byte, error) {
	refuse := func(err error) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: err.Error(), Hint: "name a plain file that Pavise may read, from the root or from where it is started", Err: err}
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(path + " is no plain file")
	}
	if err != nil {
		return nil, refuse(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, refuse(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRouteFile+1))
	if err == nil && len(text) > maxRouteFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxRouteFile)
	}
	if err != nil {
		return nil, refuse(err)
	}
	return text, nil
}
