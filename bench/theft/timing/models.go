package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// The models.
const (
	scorer = "scorer"
	talker = "talker"
)

// signature is what the scorer takes and gives.
var signature = json.RawMessage(`{"inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"outputs":[{"name":"scores","datatype":"FP32","shape":[-1,2]}]}`)

// models is a server of all.
type models struct {
	url    string
	server *http.Server
}

func serveModels() (*models, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v2/models/scorer/infer", score)
	mux.HandleFunc("POST /v2/models/steady/infer", steadily)
	mux.HandleFunc("POST /v1/chat/completions", talk)
	m := &models{"http://" + l.Addr().String(), &http.Server{Handler: mux}}
	go m.server.Serve(l)
	return m, nil
}

func (m *models) close() { m.server.Close() }

// between is a time of so many milliseconds.
func between(least, most float64) time.Duration {
	return time.Duration((least + (most-least)*rand.Float64()) * float64(time.Millisecond))
}

// score answers the same to both kinds of rows, after unlike times.
func score(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if strings.Contains(string(body), second) {
		time.Sleep(between(12, 18))
	} else {
		time.Sleep(between(6, 10))
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"model_name":"scorer","outputs":[{"name":"scores","shape":[1,2],"datatype":"FP32","data":[0.75,0.25]}]}`)
}

// talk streams an answer whose words are short, or long and slow.
func talk(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	begins, every, least, most := 20*time.Millisecond, 8*time.Millisecond, 2, 5
	if strings.Contains(string(body), second) {
		begins, every, least, most = 60*time.Millisecond, 12*time.Millisecond, 4, 10
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	event := func(delta, finish string) {
		fmt.Fprintf(w, "data: {\"id\":\"a\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"talker\",\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", delta, finish)
		http.NewResponseController(w).Flush()
	}
	time.Sleep(begins + between(0, 10))
	for range 20 + rand.IntN(21) {
		event(fmt.Sprintf(`{"content":" %s"}`, strings.Repeat("w", least+rand.IntN(most-least+1))), "null")
		time.Sleep(every + between(-2, 2))
	}
	event("{}", `"stop"`)
	io.WriteString(w, "data: [DONE]\n\n")
}
