// csv.stats: an example of the C SDK.
#include "arw.h"

typedef struct { arw_str csv; } input;
typedef struct { arw_str name; int64_t numbers; double min, max, mean; } column;
typedef struct { int64_t rows; arw_list columns; } output;

static const arw_field input_fields[] = {ARW_FIELD(input, csv, arw_text, 0)};
static const arw_type input_type = ARW_OBJECT(input, input_fields);
static const arw_field column_fields[] = {ARW_FIELD(column, name, arw_text, 0), ARW_FIELD(column, numbers, arw_i64, 0), ARW_FIELD(column, min, arw_f64, 0),
                                          ARW_FIELD(column, max, arw_f64, 0), ARW_FIELD(column, mean, arw_f64, 0)};
static const arw_type column_type = ARW_OBJECT(column, column_fields), columns_type = ARW_LIST_OF(column_type);
static const arw_field output_fields[] = {ARW_FIELD(output, rows, arw_i64, 0), ARW_FIELD(output, columns, columns_type, 0)};
static const arw_type output_type = ARW_OBJECT(output, output_fields);

enum { most_columns = 1000 };

// cell reads one cell and what ends it: a comma, a line's end, or nothing.
static arw_str cell(const char **at, const char *end, char *ended) {
  arw_buf b = {0};
  bool quoted = *at < end && **at == '"';
  if (quoted) ++*at;
  for (; *at < end; ++*at) {
    if (quoted && **at == '"') {
      if (*at + 1 < end && (*at)[1] == '"') ++*at;
      else {
        quoted = false;
        continue;
      }
    } else if (!quoted && (**at == ',' || **at == '\n')) break;
    if (quoted || **at != '\r') arw_put_char(&b, **at);
  }
  *ended = *at < end ? *(*at)++ : 0;
  return arw_built(&b);
}

static bool is_number(arw_str s, double *v) {
  arw_json *j;
  return s.len > 0 && arw_json_parse(s, &j) == ARW_OK && arw_json_f64(j, v);
}

static arw_code stats(const void *in, void *out) {
  arw_str csv = ((const input *)in)->csv;
  const char *at = csv.ptr, *end = csv.ptr + csv.len;
  column *columns = arw_new(most_columns * sizeof *columns);
  output *o = out;
  uint32_t count = 0;
  char ended = ',';
  while (ended == ',') {
    if (count == most_columns) return arw_fail(ARW_TOO_LARGE, arw_format("read the CSV: it has more than %d columns", (int64_t)most_columns));
    columns[count++].name = cell(&at, end, &ended);
  }
  while (at < end) {
    uint32_t i = 0;
    for (ended = ','; ended == ','; i++) {
      double v;
      arw_str text = cell(&at, end, &ended);
      if (i >= count) return arw_fail(ARW_INVALID, arw_format("read the CSV: row %d has more cells than the header", o->rows + 1));
      if (!is_number(text, &v)) continue;
      column *c = columns + i;
      c->min = c->numbers == 0 || v < c->min ? v : c->min;
      c->max = c->numbers == 0 || v > c->max ? v : c->max;
      c->mean += (v - c->mean) / (double)++c->numbers;
    }
    o->rows++;
  }
  o->columns = (arw_list){columns, count};
  return ARW_OK;
}

void arw_main(void) { arw_tool("csv.stats", &input_type, &output_type, stats); }
