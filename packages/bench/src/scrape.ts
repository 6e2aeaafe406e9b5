export const scrape = async (_args: readonly string[]): Promise<boolean> => true
