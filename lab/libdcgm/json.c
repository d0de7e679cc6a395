#include "json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *past_blanks(const char *at) {
    while (isspace((unsigned char)*at)) at++;
    return at;
}

static const char *past_string(const char *at) {
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
    return *at ? at + 1 : at;
}

static const char *past_value(const char *at) {
    int depth = 0;
    if (*at == '"') return past_string(at);
    if (*at != '{' && *at != '[') return at + strcspn(at, ",]} \t\r\n");
    do {
        if (*at == '"') {
            at = past_string(at);
            continue;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    } while (depth && *at);
    return at;
}

static const char *past_comma(const char *at) {
    at = past_blanks(at);
    return *at == ',' ? past_blanks(at + 1) : at;
}

const char *json_member(const char *object, const char *name) {
    size_t length = strlen(name);
    if (!object || *object != '{') return NULL;
    for (const char *at = past_blanks(object + 1); *at == '"';) {
        const char *key = at + 1, *value = past_blanks(past_string(at));
        if (*value != ':') return NULL;
        value = past_blanks(value + 1);
        if (!strncmp(key, name, length) && key[length] == '"') return value;
        at = past_comma(past_value(value));
    }
    return NULL;
}

const char *json_element(const char *list, int place) {
    if (!list || *list != '[') return NULL;
    const char *at = past_blanks(list + 1);
    for (; place > 0 && *at && *at != ']'; place--) at = past_comma(past_value(at));
    return *at && *at != ']' ? at : NULL;
}

void json_text(const char *value, char *into, int room) {
    int length = 0;
    if (value && *value == '"')
        for (value++; *value && *value != '"' && length < room - 1; value++) {
            if (*value == '\\' && value[1]) value++;
            into[length++] = *value;
        }
    into[length] = 0;
}

int json_number(const char *value) { return value ? (int)strtol(value, NULL, 10) : 0; }

int json_is_false(const char *value) { return value && !strncmp(value, "false", 5); }
