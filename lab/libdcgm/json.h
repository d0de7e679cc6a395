/* Values within a JSON text; a pointer is to the beginning of a value, NULL is a value that is not there. */
#ifndef JSON_H
#define JSON_H

const char *json_member(const char *object, const char *name);
const char *json_element(const char *list, int place);

/* Copies a string, at most `room` bytes with the final 0; it is empty where there is none. */
void json_text(const char *value, char *into, int room);

/* An integer, 0 where there is none. */
int json_number(const char *value);

int json_is_false(const char *value);

#endif
