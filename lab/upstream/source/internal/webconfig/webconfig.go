// Package webconfig reads the part of the exporter-toolkit's web configuration that sites use: certificate, client CA, users.
package webconfig

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Config is the file's content; without a certificate the server speaks plain HTTP.
type Config struct {
	path, certificate, key, clientCA, clientAuth string
	users                                        map[string]string
}

// sections are what the file may have at its left edge; of those without a meaning here the content is not looked at.
var sections = []string{"tls_server_config", "basic_auth_users", "http_server_config", "rate_limit"}

// Read reads the file; an empty path is an empty configuration. A key that it does not know is an error, as in the original.
func Read(path string) (Config, error) {
	config := Config{path: path, users: map[string]string{}}
	if path == "" {
		return config, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return config, err
	}
	section := ""
	for number, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		key, value, _ := strings.Cut(trimmed, ":")
		value = strings.Trim(strings.TrimSpace(value), `"'`)
		if !strings.HasPrefix(line, " ") {
			section = key
			if value == "" && slices.Contains(sections, key) {
				continue
			}
		} else if config.set(section, strings.Trim(key, `"'`), value, filepath.Dir(path)) {
			continue
		}
		return config, fmt.Errorf("%s line %d: %q is not understood", path, number+1, trimmed)
	}
	return config, config.check(path)
}

func (c *Config) set(section, key, value, base string) bool {
	if section == "basic_auth_users" {
		c.users[key] = value
		return true
	}
	if section != "tls_server_config" {
		return slices.Contains(sections, section)
	}
	switch key {
	case "cert_file":
		c.certificate = absolute(base, value)
	case "key_file":
		c.key = absolute(base, value)
	case "client_ca_file":
		c.clientCA = absolute(base, value)
	case "client_auth_type":
		c.clientAuth = value
	case "min_version":
		return value == "TLS12" || value == "TLS13"
	default:
		return false
	}
	return true
}

func absolute(base, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(base, path)
}

func (c *Config) check(path string) error {
	if (c.certificate == "") != (c.key == "") {
		return fmt.Errorf("%s: cert_file and key_file go together", path)
	}
	if c.clientAuth != "" && c.clientAuth != "NoClientCert" && c.clientAuth != "RequireAndVerifyClientCert" {
		return fmt.Errorf("%s: client_auth_type %q is not supported by the stand-in", path, c.clientAuth)
	}
	if c.clientCA != "" && c.clientAuth == "" {
		return fmt.Errorf("%s: client_ca_file without client_auth_type", path)
	}
	if c.certificate == "" {
		return nil
	}
	_, err := tls.LoadX509KeyPair(c.certificate, c.key)
	return err
}

// TLS returns nil for plain HTTP. The certificate is read for each connection, so a renewed one needs no restart.
func (c *Config) TLS() (*tls.Config, error) {
	if c.certificate == "" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.certificate, c.key)
		return &pair, err
	}}
	if c.clientAuth != "RequireAndVerifyClientCert" {
		return settings, nil
	}
	text, err := os.ReadFile(c.clientCA)
	if err != nil {
		return nil, err
	}
	settings.ClientAuth, settings.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !settings.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", c.clientCA)
	}
	return settings, nil
}

// Guard asks for a user and password when the file names users. It is read at each request, so a new user counts at once.
func (c *Config) Guard(next http.Handler) http.Handler {
	if c.path == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now, err := Read(c.path)
		if err != nil {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		name, password, given := r.BasicAuth()
		hash, known := now.users[name]
		if len(now.users) == 0 || given && known && passwordFits(password, hash) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", "Basic")
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
	})
}
