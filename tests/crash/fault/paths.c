static void copy_env(const char *name, char *into, size_t size) {
  const char *value = getenv(name);
  snprintf(into, size, "%s", value ? value : "");
}

/* ---- which process, which paths ------------------------------------------------------------------------------- */

static struct counts *counted;
static int is_owner(void) { return getpid() == owner; }
static int striking(void) { return mode != OFF && is_owner(); }
static int recording(void) { return log_fd >= 0 && (with_children || is_owner()); }
static int counting(void) { return counted && is_owner(); }
static int awake(void) { return owner && (striking() || recording() || counting() || (delay_ms && is_owner())); }

static int is_excluded(const char *relative) {
  char patterns[sizeof excluded], *rest = patterns, *pattern;
  strcpy(patterns, excluded);
  while ((pattern = strsep(&rest, ":")))
    if (*pattern && fnmatch(pattern, relative, 0) == 0) return 1;
  return 0;
}

/* The part of an absolute path below the root ("" for the root itself), or NULL when it is not ours. */
static const char *below_root(const char *path) {
  if (!root_len || strncmp(path, root, root_len) || (path[root_len] && path[root_len] != '/')) return NULL;
  const char *relative = path + root_len + (path[root_len] == '/');
  return is_excluded(relative) ? NULL : relative;
}

static const char *fd_path(int fd, char *buffer) {
  char link[40];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int saved = errno;
  ssize_t n = readlink(link, buffer, PATH_MAX - 1);
  errno = saved;
  if (n <= 0) return NULL;
  buffer[n] = 0;
  if (n > 10 && !strcmp(buffer + n - 10, " (deleted)")) buffer[n - 10] = 0;
  return below_root(buffer);
}

/* Make `path` absolute and free of "." and "..", by text: homes under test are given by their real path. */
static const char *name_path(int dirfd, const char *path, char *buffer) {
  char text[2 * PATH_MAX] = "", *rest = text, *part;
  size_t n = 0;
  buffer[0] = 0;
  if (!path) return NULL;
  if (path[0] != '/') {
    char link[40];
    snprintf(link, sizeof link, dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dirfd);
    ssize_t got = readlink(link, text, PATH_MAX - 1);
    if (got <= 0) return NULL;
    text[got] = '/';
    n = (size_t)got + 1;
  }
  if (n + strlen(path) >= sizeof text) return NULL;
  strcpy(text + n, path);
  for (n = 0; (part = strsep(&rest, "/"));) {
    if (!*part || !strcmp(part, ".")) continue;
    if (!strcmp(part, "..")) {
      while (n && buffer[--n] != '/') {}
      continue;
    }
    size_t len = strlen(part);
    if (n + len + 2 > PATH_MAX) return NULL;
    buffer[n++] = '/';
    memcpy(buffer + n, part, len);
    n += len;
  }
  buffer[n] = 0;
  return below_root(buffer);
}

