package verbs

import (
	"path/filepath"
	"strings"

	"github.com/pavise/pavise/internal/gate"
)

// FormOf is the form of a batch by the end of its file's name; of another end, NDJSON.
func FormOf(file string) string {
	switch strings.ToLower(filepath.Ext(file)) {
	case ".csv":
		return gate.FormCSV
	case ".log", ".txt":
		return gate.FormLines
	case ".stix":
		return gate.FormSTIX
	}
	return gate.FormNDJSON
}

// MediaType is how a batch of a form comes over HTTP.
func MediaType(form string) string {
	switch form {
	case gate.FormNDJSON:
		return "application/x-ndjson"
	case gate.FormCSV:
		return "text/csv"
	case gate.FormLines:
		return "text/plain"
	case gate.FormSTIX:
		return "application/stix+json"
	}
	return "application/octet-stream"
}
