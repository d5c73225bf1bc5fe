// Counts words, letters and lines of a text: a plugin in C without a PDK and without a C library.
#include "arw_extism.h"

static char out[256];
static u32 len;

static void put(const char *s) {
  while (*s) out[len++] = *s++;
}

static void put_number(const char *key, u64 v) {
  char digits[20];
  int n = 0;
  put(key);
  do digits[n++] = (char)('0' + v % 10); while (v /= 10);
  while (n) out[len++] = digits[--n];
}

EXTISM_EXPORT(text_count) int text_count(void) {
  u64 n = extism_input_length(), words = 0, letters = 0, lines = 0;
  int inside = 0;
  if (n == 0) {
    static const char message[] = "there is no text";
    extism_error_set(extism_block(message, sizeof message - 1));
    return 1;
  }
  for (u64 i = 0; i < n; i++) {
    u32 c = extism_input_load_u8(i);
    int space = c == ' ' || (c >= '\t' && c <= '\r');
    if (!space && !inside) words++;
    inside = !space;
    letters += (c & 0xc0) != 0x80; // not the later bytes of a letter in UTF-8
    lines += c == '\n';
  }
  put_number("{\"words\":", words);
  put_number(",\"letters\":", letters);
  put_number(",\"lines\":", lines);
  put("}");
  extism_output_set(extism_block(out, len), len);
  return 0;
}
