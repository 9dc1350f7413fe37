package witness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/proof"
)

// maxRequest bounds the body of add-checkpoint: a note and 63 hashes.
const maxRequest = proof.MaxNote + 64*64

// Handler serves the witness protocol: POST /add-checkpoint and GET
// /ORIGINHASH/checkpoint, below whatever prefix it is mounted at. It asks nobody
// who they are: a checkpoint vouches for itself.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", s.addCheckpoint)
	mux.HandleFunc("GET /{hash}/checkpoint", s.checkpoint)
	return mux
}

// addCheckpoint answers as the protocol says, with a line for people besides.
func (s *Server) addCheckpoint(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		http.Error(w, "the request is cut short, or longer than one can be", http.StatusBadRequest)
		return
	}
	request, err := parseRequest(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	lines, err := s.Cosign(r.Context(), request.old, request.path, request.note)
	if seen, ok := errors.AsType[*Seen](err); ok {
		w.Header().Set("Content-Type", sizeType)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", seen.Size)
		return
	}
	if err != nil {
		http.Error(w, words(err), statuses[pavise.KindOf(err)])
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write(lines)
}

// statuses are the protocol's own, by kind of error.
var statuses = map[pavise.Kind]int{
	pavise.Internal:    http.StatusInternalServerError,
	pavise.Invalid:     http.StatusBadRequest,
	pavise.Denied:      http.StatusForbidden,
	pavise.NotFound:    http.StatusNotFound,
	pavise.Conflict:    http.StatusConflict,
	pavise.Throttled:   http.StatusTooManyRequests,
	pavise.Unverified:  http.StatusUnprocessableEntity,
	pavise.Unavailable: http.StatusServiceUnavailable,
}

// words is what a stranger may know of an error.
func words(err error) string {
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		return e.Msg
	}
	return "internal error"
}

// A request is what add-checkpoint is asked.
type request struct {
	old  uint64
	path tlog.TreeProof
	note []byte
}

// parseRequest reads the body of add-checkpoint. The error is for the caller.
func parseRequest(body string) (r request, err error) {
	head, note, ok := strings.Cut(body, "\n\n")
	lines := strings.Split(head, "\n")
	size, isOld := strings.CutPrefix(lines[0], "old ")
	if !ok || !isOld {
		return r, errors.New("the request does not begin with an old size and a proof, and an empty line behind them")
	}
	if r.old, err = strconv.ParseUint(size, 10, 63); err != nil || strconv.FormatUint(r.old, 10) != size {
		return r, errors.New("the old size is no decimal number")
	}
	path, err := proof.ParseHashes(lines[1:])
	if err != nil {
		return r, fmt.Errorf("the consistency proof: %w", err)
	}
	r.path = path
	r.note = []byte(note)
	return r, nil
}

// checkpoint shows the newest checkpoint of a log that was cosigned.
func (s *Server) checkpoint(w http.ResponseWriter, r *http.Request) {
	logs, err := s.Logs(r.Context())
	if err != nil {
		http.Error(w, words(err), statuses[pavise.KindOf(err)])
		return
	}
	for _, l := range logs {
		if originHash(l.Origin) == r.PathValue("hash") && len(l.note) > 0 {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			w.Write(l.note)
			return
		}
	}
	http.Error(w, "nothing of such a log was cosigned", http.StatusNotFound)
}
