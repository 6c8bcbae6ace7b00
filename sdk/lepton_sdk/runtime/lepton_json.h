/* JSON read into a tree of values that point into the text; as much of it as a manifest needs. */
#ifndef LEPTON_JSON_H
#define LEPTON_JSON_H
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LEPTON_JSON_DEPTH = 32 };

/* kind: one of `{["0tfn`. A member's `name` and every string stand between quotes that are left out. */
typedef struct lepton_json {
  char kind;
  const char *name, *text;
  size_t name_bytes, text_bytes;
  struct lepton_json *first, *next;
} lepton_json;

typedef struct lepton_json_reader {
  const char *at, *end;
  lepton_json *values;
  size_t n, room;
} lepton_json_reader;

static inline void lepton_json_space(lepton_json_reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')) r->at++;
}

/* Past the opening quote; returns the bytes up to the closing one, which is passed, or -1. */
static inline ptrdiff_t lepton_json_string(lepton_json_reader *r) {
  const char *begin = r->at;
  for (; r->at < r->end && *r->at != '"'; r->at++)
    if (*r->at == '\\' && ++r->at == r->end) return -1;
  return r->at < r->end ? r->at++ - begin : -1;
}

static inline lepton_json *lepton_json_value(lepton_json_reader *r, int depth) {
  lepton_json_space(r);
  if (depth == 0 || r->at == r->end || r->n == r->room) return NULL;
  lepton_json *value = &r->values[r->n++];
  memset(value, 0, sizeof *value);
  const char c = *r->at++;
  value->kind = c;
  value->text = r->at;
  if (c == '"') {
    const ptrdiff_t bytes = lepton_json_string(r);
    value->text_bytes = (size_t)bytes;
    return bytes < 0 ? NULL : value;
  }
  if (c == '{' || c == '[') {
    const char close = c == '{' ? '}' : ']';
    lepton_json **next = &value->first;
    lepton_json_space(r);
    if (r->at < r->end && *r->at == close) return r->at++, value;
    for (;;) {
      const char *name = NULL;
      ptrdiff_t bytes = 0;
      lepton_json_space(r);
      if (c == '{') {
        if (r->at == r->end || *r->at++ != '"') return NULL;
        name = r->at;
        bytes = lepton_json_string(r);
        lepton_json_space(r);
        if (bytes < 0 || r->at == r->end || *r->at++ != ':') return NULL;
      }
      lepton_json *child = lepton_json_value(r, depth - 1);
      if (child == NULL) return NULL;
      child->name = name;
      child->name_bytes = (size_t)bytes;
      *next = child;
      next = &child->next;
      lepton_json_space(r);
      if (r->at == r->end) return NULL;
      if (*r->at == close) return r->at++, value;
      if (*r->at++ != ',') return NULL;
    }
  }
  value->text--;
  value->kind = c == '-' || (c >= '0' && c <= '9') ? '0' : c;
  if (value->kind != '0' && c != 't' && c != 'f' && c != 'n') return NULL;
  while (r->at < r->end && *r->at != ',' && *r->at != '}' && *r->at != ']' && *r->at > ' ') r->at++;
  value->text_bytes = (size_t)(r->at - value->text);
  return value;
}

/* The whole text as one value, or null. values: room for bytes / 2 + 1, for each takes a separator too. */
static inline lepton_json *lepton_json_read(const char *text, size_t bytes, lepton_json *values) {
  lepton_json_reader r = {text, text + bytes, values, 0, bytes / 2 + 1};
  lepton_json *root = lepton_json_value(&r, LEPTON_JSON_DEPTH);
  lepton_json_space(&r);
  return root && r.at == r.end ? root : NULL;
}

static inline int lepton_json_is(const lepton_json *value, const char *text) {
  return value && value->text_bytes == strlen(text) && memcmp(value->text, text, value->text_bytes) == 0;
}

/* The member of that name, or null. */
static inline const lepton_json *lepton_json_member(const lepton_json *object, const char *name) {
  if (object == NULL || object->kind != '{') return NULL;
  for (const lepton_json *child = object->first; child; child = child->next)
    if (child->name_bytes == strlen(name) && memcmp(child->name, name, child->name_bytes) == 0) return child;
  return NULL;
}

static inline int lepton_json_count(const lepton_json *list) {
  int n = 0;
  if (list && (list->kind == '[' || list->kind == '{'))
    for (const lepton_json *child = list->first; child; child = child->next) n++;
  return n;
}

/* An integer from 0 on, or -1 for anything else. */
static inline int64_t lepton_json_size(const lepton_json *value) {
  int64_t n = 0;
  if (value == NULL || value->kind != '0' || value->text_bytes > 18) return -1;
  for (size_t i = 0; i < value->text_bytes; i++) {
    if (value->text[i] < '0' || value->text[i] > '9') return -1;
    n = n * 10 + (value->text[i] - '0');
  }
  return n;
}

/* A number; 0 where there is none. Numbers end before the text does, so that strtod stops in time. */
static inline double lepton_json_number(const lepton_json *value) {
  return value && value->kind == '0' ? strtod(value->text, NULL) : 0.0;
}

/* A copy of a string with escapes resolved, in memory for text_bytes + 1; \u only below 128. Returns its end. */
static inline char *lepton_json_unescaped(const char *text, size_t bytes, char *to) {
  for (size_t i = 0; i < bytes; i++) {
    char c = text[i];
    if (c == '\\' && i + 1 < bytes) {
      static const char from[] = "bfnrt", into[] = "\b\f\n\r\t";
      c = text[++i];
      const char *known = c ? strchr(from, c) : NULL;
      if (c == 'u' && i + 4 < bytes) {
        const char digits[3] = {text[i + 3], text[i + 4], 0};
        c = (char)strtol(digits, NULL, 16);
        i += 4;
      } else if (known) {
        c = into[known - from];
      }
    }
    *to++ = c;
  }
  *to = 0;
  return to + 1;
}
#endif
