package mlflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tracked"
)

// A text is a string; where a client means a version, it may send a number.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	var w tracked.Whole
	if err := w.UnmarshalJSON(b); err != nil {
		return err
	}
	*t = text(strconv.FormatInt(int64(w), 10))
	return nil
}

// A registeredModel is a model.
type registeredModel struct {
	Name     string         `json:"name"`
	Created  int64          `json:"creation_timestamp"` // Unix milliseconds
	Updated  int64          `json:"last_updated_timestamp"`
	User     string         `json:"user_id,omitempty"`
	About    string         `json:"description,omitempty"`
	Latest   []modelVersion `json:"latest_versions,omitempty"`
	Tags     []tracked.Tag  `json:"tags,omitempty"`
	Aliases  []aliasOf      `json:"aliases,omitempty"`
	searched map[string]string
}

// An aliasOf is an alias of a model.
type aliasOf struct {
	Alias   string `json:"alias"`
	Version string `json:"version"`
}

// A modelVersion is a version of a model.
type modelVersion struct {
	Name     string        `json:"name"`
	Version  string        `json:"version"`
	Created  int64         `json:"creation_timestamp"`
	Updated  int64         `json:"last_updated_timestamp"`
	User     string        `json:"user_id,omitempty"`
	Stage    string        `json:"current_stage"`
	About    string        `json:"description,omitempty"`
	Source   string        `json:"source,omitempty"`
	Run      string        `json:"run_id,omitempty"`
	Logged   string        `json:"model_id,omitempty"`
	Status   string        `json:"status"`
	Problem  string        `json:"status_message,omitempty"`
	Tags     []tracked.Tag `json:"tags,omitempty"`
	Link     string        `json:"run_link,omitempty"`
	Aliases  []string      `json:"aliases,omitempty"`
	number   int
	searched map[string]string
}

// The requests. Fields that a client sends and nothing rests on are read and left.
type (
	createModel struct {
		Name  string        `json:"name"`
		Tags  []tracked.Tag `json:"tags"`
		About string        `json:"description"`
		Job   string        `json:"deployment_job_id"`
	}
	renameModel struct {
		Name string `json:"name"`
		New  string `json:"new_name"`
	}
	updateModel struct {
		Name  string  `json:"name"`
		About *string `json:"description"`
		Job   string  `json:"deployment_job_id"`
	}
	ofModel struct {
		Name string `json:"name"`
	}
	search struct {
		Filter string        `json:"filter"`
		Most   tracked.Whole `json:"max_results"`
		Order  []string      `json:"order_by"`
		Page   string        `json:"page_token"`
	}
	latestOf struct {
		Name   string   `json:"name"`
		Stages []string `json:"stages"`
	}
	createVersion struct {
		Name   string        `json:"name"`
		Source string        `json:"source"`
		Run    string        `json:"run_id"`
		Tags   []tracked.Tag `json:"tags"`
		Link   string        `json:"run_link"`
		About  string        `json:"description"`
		Logged string        `json:"model_id"`
	}
	updateVersion struct {
		Name    string  `json:"name"`
		Version text    `json:"version"`
		About   *string `json:"description"`
	}
	ofVersion struct {
		Name    string `json:"name"`
		Version text   `json:"version"`
	}
	transition struct {
		Name    string `json:"name"`
		Version text   `json:"version"`
		Stage   string `json:"stage"`
		Archive *truth `json:"archive_existing_versions"`
	}
	modelTag struct {
		Name  string  `json:"name"`
		Key   string  `json:"key"`
		Value *string `json:"value"`
	}
	versionTag struct {
		Name    string  `json:"name"`
		Version text    `json:"version"`
		Key     string  `json:"key"`
		Value   *string `json:"value"`
	}
	aliasRequest struct {
		Name    string `json:"name"`
		Alias   string `json:"alias"`
		Version text   `json:"version"`
	}
)

// A truth is a bool, which a query has as a string.
type truth bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *truth) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true", `"true"`, `"True"`:
		*f = true
	case "false", `"false"`, `"False"`:
		*f = false
	case "null":
	default:
		return fmt.Errorf("%.20s is neither true nor false", b)
	}
	return nil
}

// decode reads a request. Like encoding/json it takes null for what is not there, as JSON of
// protocol buffers has it.
func decode[T any](body []byte) (req T, err error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return req, nil
	}
	if !utf8.Valid(body) {
		return req, unreadable(errors.New("it is not UTF-8"))
	}
	if req, err = plainjson.ReadKnown[T](body); err != nil {
		return req, unreadable(err)
	}
	return req, nil
}

func unreadable(err error) error {
	if e, ok := errors.AsType[*pavise.Error](err); ok && e.Kind == pavise.Invalid {
		return err
	}
	return &pavise.Error{Kind: pavise.Invalid, Msg: "the request cannot be read: " + strings.TrimPrefix(err.Error(), "json: "), Hint: "send what MLflow's REST API says, each key once", Err: err}
}

// lists are the keys of which a query may have several.
var lists = []string{"order_by", "stages"}

// fromQuery is what a query says, as the body of a request.
func fromQuery(raw string) ([]byte, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, unreadable(err)
	}
	said := map[string]any{}
	for key, values := range q {
		switch {
		case slices.Contains(lists, key):
			said[key] = values
		case len(values) != 1:
			return nil, unreadable(fmt.Errorf("key %.80q appears twice", key))
		default:
			said[key] = values[0]
		}
	}
	return json.Marshal(said)
}
