/* ---- counting ---------------------------------------------------------------------------------------------------
 *
 * How often the process synced, how many inodes it made and freed, and what it wrote, by class of path: the first of the
 * expressions in FAULT_CLASSES that fits the path below the root, else the class behind the last of them. Files that
 * posix_spawn makes for a child (its logs) are counted as made by the process that orders them. Mirrored in counters.py.
 */

enum counter { FSYNCS, FDATASYNCS, SYNCFSES, RANGES, MSYNCS, INODES_MADE, INODES_FREED, WRITES, BYTES, SPAWNS, COUNTERS };
enum { CLASSES = 16 };

struct counts {
  uint64_t now[CLASSES][COUNTERS];
  uint64_t at_spawn[CLASSES][COUNTERS]; /* as it was when the latest process was about to be started */
};

static regex_t classes[CLASSES];
static int class_count;

static int class_of(const char *relative) {
  for (int i = 0; i < class_count; i++)
    if (regexec(&classes[i], relative, 0, NULL, 0) == 0) return i;
  return class_count;
}

static void add(const char *path, enum counter what, uint64_t n) {
  if (counting()) __atomic_add_fetch(&counted->now[class_of(path)][what], n, __ATOMIC_RELAXED);
}

/* Will the removal of this name free an inode? To be asked before. */
static int is_last_name(const char *path) {
  struct stat st;
  return counting() && lstat(path, &st) == 0 && (S_ISDIR(st.st_mode) || st.st_nlink == 1);
}

static int is_there(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

/* A sync takes at least FAULT_DELAY milliseconds, as on a slow disk. */
static struct timespec clock_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now;
}

static void delay_since(struct timespec begun) {
  if (!delay_ms || !is_owner()) return;
  int saved = errno;
  begun.tv_sec += delay_ms / 1000;
  begun.tv_nsec += delay_ms % 1000 * 1000000;
  begun.tv_sec += begun.tv_nsec / 1000000000;
  begun.tv_nsec %= 1000000000;
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &begun, NULL) == EINTR) {}
  errno = saved;
}

static void read_classes(void) {
  char text[4096], *rest = text, *line;
  copy_env("FAULT_CLASSES", text, sizeof text);
  while ((line = strsep(&rest, "\n")))
    if (*line && class_count < CLASSES - 1 && regcomp(&classes[class_count], line, REG_EXTENDED | REG_NOSUB) == 0)
      class_count++;
}

static void note_spawn(void) {
  if (!counting()) return;
  memcpy(counted->at_spawn, counted->now, sizeof counted->now);
  __atomic_add_fetch(&counted->now[class_count][SPAWNS], 1, __ATOMIC_RELAXED);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                char *const argv[], char *const env[]) {
  note_spawn();
  return REAL(posix_spawn, pid, path, actions, attr, argv, env);
}

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
                 char *const argv[], char *const env[]) {
  note_spawn();
  return REAL(posix_spawnp, pid, file, actions, attr, argv, env);
}

int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *name, int flags,
                                     mode_t rights) {
  char full[PATH_MAX];
  const char *ours = counting() && flags & O_CREAT ? name_path(AT_FDCWD, name, full) : NULL;
  if (ours && !is_there(full)) add(ours, INODES_MADE, 1);
  return REAL(posix_spawn_file_actions_addopen, actions, fd, name, flags, rights);
}
