/* pi by the midpoint rule, each rank with its share of the points; `mpiexec -n 2 tcc -L. -lmpich -run mpi-reduce.c`
   The image has no mpi.h: what of MPICH's is used stands here (handles are numbers there). */
enum { MPI_COMM_WORLD = 0x44000000, MPI_DOUBLE = 0x4c00080b, MPI_SUM = 0x58000003 };
int MPI_Init(int *, char ***);
int MPI_Comm_rank(int comm, int *rank);
int MPI_Comm_size(int comm, int *size);
int MPI_Allreduce(const void *from, void *to, int count, int type, int operation, int comm);
int MPI_Finalize(void);
int printf(const char *, ...);

int main(int argc, char **argv) {
    int rank, size, points = 100000;
    double share = 0, sum;

    if (MPI_Init(&argc, &argv)) return 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (int i = rank; i < points; i += size) {
        double x = (i + 0.5) / points;
        share += 4 / (1 + x * x) / points;
    }
    MPI_Allreduce(&share, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (rank == size - 1) printf("rank %d of %d: %.8f\n", rank, size, sum);
    return MPI_Finalize();
}
