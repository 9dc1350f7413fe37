package edge

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// A voice answers with a refusal in the words of a protocol.
type voice func(w http.ResponseWriter, err error)

// spelled makes a voice of how a protocol spells an error object.
func spelled(spell func(kind pavise.Kind, msg string) []byte) voice {
	return func(w http.ResponseWriter, err error) {
		kind := pavise.KindOf(err)
		reply(w, kind.HTTPStatus(), spell(kind, tell(w, err)))
	}
}

// The voices. TensorFlow Serving, KServe and Ollama have that of the Open Inference
// Protocol, {"error": …}.
var (
	torchVoice = spelled(func(kind pavise.Kind, msg string) []byte {
		return object(
			"code", kind.HTTPStatus(), "type", torchTypes[kind], "message", msg)
	})
	mlflowVoice = spelled(func(kind pavise.Kind, msg string) []byte {
		return object("error_code", mlflowCodes[kind], "message", msg)
	})
)

// torchTypes are TorchServe's names of errors.
var torchTypes = map[pavise.Kind]string{
	pavise.Internal: "InternalServerException", pavise.Invalid: "BadRequestException", pavise.Denied: "ForbiddenException",
	pavise.NotFound: "ModelNotFoundException", pavise.Conflict: "ConflictStatusException", pavise.Throttled: "ServiceUnavailableException",
	pavise.Unverified: "InvalidTokenException", pavise.Unavailable: "ServiceUnavailableException",
}

// mlflowCodes are MLflow's.
var mlflowCodes = map[pavise.Kind]string{
	pavise.Internal: "INTERNAL_ERROR", pavise.Invalid: "BAD_REQUEST", pavise.Denied: "PERMISSION_DENIED",
	pavise.NotFound: "RESOURCE_DOES_NOT_EXIST", pavise.Conflict: "RESOURCE_CONFLICT", pavise.Throttled: "REQUEST_LIMIT_EXCEEDED",
	pavise.Unverified: "UNAUTHENTICATED", pavise.Unavailable: "TEMPORARILY_UNAVAILABLE",
}

// grpcVoice refuses a method of gRPC that is not served: a head without a body, whose
// status says all (gRPC over HTTP/2, "Trailers-Only").
func grpcVoice(w http.ResponseWriter, err error) {
	code := grpcCodes[pavise.KindOf(err)]
	if code == codeNotFound {
		code = codeUnimplemented // it is the method that nobody finds
	}
	h := w.Header()
	h.Set("Content-Type", mediaGRPC)
	h.Set("Grpc-Status", strconv.Itoa(code))
	h.Set("Grpc-Message", percent(tell(w, err)))
	w.WriteHeader(http.StatusOK)
}

// object spells a JSON object of names with texts or numbers.
func object(pairs ...any) []byte {
	dst := []byte{'{'}
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(tensor.AppendText(dst, pairs[i].(string)), ':')
		if n, ok := pairs[i+1].(int); ok {
			dst = strconv.AppendInt(dst, int64(n), 10)
		} else {
			dst = tensor.AppendText(dst, pairs[i+1].(string))
		}
	}
	return append(dst, '}')
}

// voiceOf chooses the words in which a request that nothing serves is refused.
func voiceOf(r *http.Request, found []match) voice {
	switch {
	case isGRPC(r):
		return grpcVoice
	case len(found) > 0:
		return voices[found[0].Server]
	}
	for _, known := range []struct {
		prefix string
		voice  voice
	}{
		{"/predictions", torchVoice}, {"/models", torchVoice}, {"/explanations", torchVoice}, {"/workflows", torchVoice},
		{"/invocations", mlflowVoice}, {"/v1/models/", refuse}, {"/v1/", refuseChat},
	} {
		if strings.HasPrefix(r.URL.Path, known.prefix) {
			return known.voice
		}
	}
	return refuse
}

var voices = map[string]voice{
	"triton": refuse, "kserve": refuse, "tfserving": refuse, "ollama": refuse,
	"torchserve": torchVoice, "mlflow": mlflowVoice, "vllm": refuseChat, "openai": refuseChat,
}
