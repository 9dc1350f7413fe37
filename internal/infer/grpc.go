package infer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
	"github.com/pavise/pavise/internal/upstream"
)

// This file is how a model server is asked over gRPC: one message there and one back,
// over the HTTP/2 of package upstream, with its balance, its bounds and its TLS.

const (
	grpcService = "/inference.GRPCInferenceService/"
	framePrefix = 5 // a byte for compression, and the message's length in four
)

var (
	grpcFields = []upstream.Field{{Name: "Content-Type", Value: "application/grpc"}, {Name: "Te", Value: "trailers"}, {Name: "Grpc-Accept-Encoding", Value: "identity"}}
	grpcWant   = []string{"grpc-status", "grpc-encoding", "content-type"}
)

// askGRPC makes a message the request of a call, behind the name of the model.
func (u *Upstream) askGRPC(c *call, path string, message []byte) {
	c.framed = oipgrpc.AppendModel(append(c.framed[:0], make([]byte, framePrefix)...), u.place.Model, u.place.Version)
	c.framed = append(c.framed, message...)
	binary.BigEndian.PutUint32(c.framed[1:], uint32(len(c.framed)-framePrefix))
	c.request = upstream.Request{Method: http.MethodPost, Path: path, Fields: grpcFields, Body: c.framed}
	c.answer.Want = grpcWant
}

// The codes of gRPC that say something of their own.
const (
	codeInvalid   = "3"
	codeNotFound  = "5"
	codeExhausted = "8"
)

// messageGRPC is the one message of an answer whose status is good.
func (u *Upstream) messageGRPC(c *call) (m tensor.Message, err error) {
	code, encoding, media, body := string(c.answer.Got[0]), string(c.answer.Got[1]), string(c.answer.Got[2]), c.answer.Body
	switch {
	case code == codeNotFound:
		return m, &pavise.Error{
			Kind: pavise.Unavailable, Msg: "the model server does not know the model (gRPC status 5)",
			Hint: "if it has another name there, put the route with --remote NAME",
		}
	case code == codeInvalid:
		return m, fault("refused the request with gRPC status 3", nil)
	case code == codeExhausted:
		return m, fault("is asked too much already (gRPC status 8)", nil)
	case code == "":
		return m, misspoke(errors.New("its end has no gRPC status"))
	case code != "0":
		return m, fault("answered with a gRPC status other than 0", unsaid(fmt.Errorf("gRPC status %.40q", code)))
	case media != "application/grpc" && media != "application/grpc+proto":
		return m, misspoke(fmt.Errorf("content type %.80q, which is no gRPC", media))
	case encoding != "" && encoding != "identity":
		return m, misspoke(fmt.Errorf("a message compressed with %.40q, which nobody asked for", encoding))
	case len(body) < framePrefix || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-framePrefix):
		return m, misspoke(errors.New("other than one whole message"))
	}
	return tensor.Message{Body: body[framePrefix:]}, nil
}
